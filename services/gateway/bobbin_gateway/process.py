"""The gateway as processes: the parent, which looks after the workers, and these."""

from __future__ import annotations

import gc
import os
import socket
import sys
from math import ceil
from typing import cast

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from bobbin_gateway.app import create_app, load_agent
from bobbin_gateway.files.blobs import check_url
from bobbin_gateway.metrics import REQUESTS
from bobbin_gateway.settings import Settings
from bobbin_gateway.tools.mcp.configuration import read_configuration
from bobbin_gateway.turns.engine import STOPPING_S
from bobbin_protocol.settings import BrokenSettings, read_settings
from bobbin_telemetry.exposition import exposition
from bobbin_telemetry.logs import configure_logs
from bobbin_telemetry.metrics import Application


def app() -> Application:
    """The application of one worker process; granian calls it there."""
    gc.freeze()  # what was loaded before the fork is never garbage: a collection would copy all its pages
    configure_logs()
    return REQUESTS.measured(cast("Application", create_app(read_settings(Settings, os.environ))))


def main() -> None:
    """Serve until SIGINT or SIGTERM; a reason not to start is a line on stderr and exit code 1."""
    try:
        settings = read_settings(Settings, os.environ)
        if settings.gateway_agent:
            load_agent(settings.gateway_agent)
        read_configuration(settings.mcp_config, os.environ)
        check_url(settings.attachments_url)
        _check_port(settings.gateway_host, settings.gateway_port, "GATEWAY_PORT")
        if settings.gateway_metrics_port:
            _check_port(settings.gateway_host, settings.gateway_metrics_port, "GATEWAY_METRICS_PORT")
    except (BrokenSettings, ValueError, OSError) as error:
        sys.exit(f"gateway: {error}")
    with exposition(settings.gateway_host, settings.gateway_metrics_port):
        _serve(settings)


def _serve(settings: Settings) -> None:
    Server(
        "bobbin_gateway.process:app",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.gateway_host,
        port=settings.gateway_port,
        workers=settings.gateway_workers,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        websockets=False,
        backpressure=_MOST_STREAMS,
        respawn_failed_workers=True,
        workers_kill_timeout=ceil(settings.drain_notice_s + settings.shutdown_grace_s + STOPPING_S),
        log_level=LogLevels.warning,
        process_name=None,
    ).serve()


def _check_port(host: str, port: int, setting: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen on {host}:{port} (GATEWAY_HOST, {setting}): {error.strerror}"
            ) from error


_MOST_STREAMS = 65_536
"""Requests at once in one worker; granian counts an open stream as one."""
