"""The gateway as processes: the parent, which looks after the workers, and these."""

from __future__ import annotations

import os
import sys
from functools import partial
from math import ceil

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from bobbin_gateway.app import create_app, load_agent
from bobbin_gateway.files.blobs import check_url
from bobbin_gateway.http.forwarded import trusting
from bobbin_gateway.metrics import REQUESTS
from bobbin_gateway.settings import Settings, names
from bobbin_gateway.tools.mcp.configuration import read_configuration
from bobbin_gateway.turns.engine import STOPPING_S
from bobbin_protocol.settings import BrokenSettings, mistyped, read_settings, refusal, shown_settings
from bobbin_telemetry.asgi import Application
from bobbin_telemetry.exposition import exposition
from bobbin_telemetry.logs import GRANIAN_LOGS, configure_logs, is_console, log_start
from bobbin_telemetry.ports import check_port
from bobbin_telemetry.serving import FLUSH_S, check_traces, unset_empty
from bobbin_telemetry.worker import begin_worker, observed


def main() -> None:
    """Serve until SIGINT or SIGTERM; reasons not to start are a line each on stderr, and exit code 1."""
    unset_empty(os.environ)
    try:
        settings = read_settings(Settings, os.environ, _CHECKS)
    except BrokenSettings as error:
        sys.exit(refusal(_NAME, error))
    configure_logs(_NAME, settings.log_format, settings.log_level)
    shown = shown_settings(settings, defaults=not is_console(settings.log_format))
    log_start(shown, mistyped(Settings, os.environ))
    with exposition(settings.gateway_host, settings.gateway_metrics_port):
        _serve(settings)


def _serve(settings: Settings) -> None:
    server = Server(
        "bobbin_gateway",
        interface=Interfaces.ASGI,
        address=settings.gateway_host,
        port=settings.gateway_port,
        workers=settings.gateway_workers,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        websockets=False,
        backpressure=_MOST_STREAMS,
        respawn_failed_workers=True,
        workers_kill_timeout=ceil(settings.drain_notice_s + settings.shutdown_grace_s + STOPPING_S + FLUSH_S),
        log_level=LogLevels.warning,
        log_dictconfig=GRANIAN_LOGS,
        process_name=None,
    )
    server.serve(target_loader=partial(worker_app, settings), wrap_loader=False)


def worker_app(settings: Settings) -> Application:
    """The application of one worker process; granian calls it there."""
    begin_worker(_NAME, settings.log_format, settings.log_level)
    app = observed(
        create_app(settings),
        _NAME,
        access_log=settings.access_log,
        requests=REQUESTS if settings.gateway_metrics_port else None,
    )
    return trusting(app, proxies) if (proxies := names(settings.trusted_proxies)) else app


def _export_key(settings: Settings) -> None:
    """Put the key, which may come from a file, where an agent of one's own looks for it."""
    if settings.openai_api_key:
        os.environ["OPENAI_API_KEY"] = settings.openai_api_key


def _check_agent(settings: Settings) -> None:
    if settings.gateway_agent:
        load_agent(settings.gateway_agent)


def _check_mcp(settings: Settings) -> None:
    read_configuration(settings.mcp_config, os.environ)


def _check_files(settings: Settings) -> None:
    check_url(settings.attachments_url)


def _check_traces(_settings: Settings) -> None:
    check_traces(os.environ, _NAME)


def _check_ports(settings: Settings) -> None:
    check_port(settings.gateway_host, settings.gateway_port, "GATEWAY_HOST, GATEWAY_PORT")
    if settings.gateway_metrics_port:
        check_port(settings.gateway_host, settings.gateway_metrics_port, "GATEWAY_HOST, GATEWAY_METRICS_PORT")


_CHECKS = (_export_key, _check_agent, _check_mcp, _check_files, _check_traces, _check_ports)
"""In this order: an agent may look for the key when it is loaded."""
_NAME = "bobbin-gateway"
_MOST_STREAMS = 65_536
"""Requests at once in one worker; granian counts an open stream as one."""
