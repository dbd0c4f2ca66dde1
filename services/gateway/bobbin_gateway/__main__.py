"""Starts the gateway: ``python -m bobbin_gateway``."""

from __future__ import annotations

import gc
import os
import socket
import sys
from math import ceil

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from bobbin_gateway.app import create_app, load_agent
from bobbin_gateway.files.blobs import check_url
from bobbin_gateway.settings import Settings
from bobbin_gateway.tools.mcp.configuration import read_configuration
from bobbin_gateway.turns.engine import STOPPING_S
from bobbin_protocol.settings import BrokenSettings, read_settings
from bobbin_telemetry.logs import configure_logs
from bobbin_telemetry.serving import FLUSH_S, AsgiApp, check_traces, traced


def app() -> AsgiApp:
    """The application of one worker process; granian calls it there."""
    gc.freeze()  # what was loaded before the fork is never garbage: a collection would copy all its pages
    configure_logs()
    return traced(create_app(read_settings(Settings, os.environ)), "bobbin-gateway", os.environ)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    try:
        settings = read_settings(Settings, os.environ)
        if settings.gateway_agent:
            load_agent(settings.gateway_agent)
        read_configuration(settings.mcp_config, os.environ)
        check_url(settings.attachments_url)
        check_traces(os.environ, "bobbin-gateway")
        _check_port(settings.gateway_host, settings.gateway_port)
    except (BrokenSettings, ValueError, OSError) as error:
        sys.exit(f"gateway: {error}")
    Server(
        "bobbin_gateway.__main__:app",
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
        workers_kill_timeout=ceil(settings.drain_notice_s + settings.shutdown_grace_s + STOPPING_S + FLUSH_S),
        log_level=LogLevels.warning,
        process_name=None,
    ).serve()


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen on {host}:{port} (GATEWAY_HOST, GATEWAY_PORT): {error.strerror}"
            ) from error


_MOST_STREAMS = 65_536
"""Requests at once in one worker; granian counts an open stream as one."""

if __name__ == "__main__":
    main()
