"""`python -m bobbin_gateway.demo_model`: serve until killed; there is nothing to lose."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from bobbin_gateway.demo_model.app import App
from bobbin_gateway.demo_model.model import Model
from bobbin_gateway.demo_model.received import ReceivedRequests


def main() -> None:
    """Serve until SIGTERM or SIGINT, which end the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = _arguments()
    if arguments.recordings and not arguments.recordings.is_dir():
        sys.exit(f"demo model: there is no folder {arguments.recordings}")
    received = ReceivedRequests() if arguments.record_requests else None
    app = App(Model(arguments.recordings), received)
    try:
        with _reserved(arguments.host, arguments.port) as reservation:
            uvloop.run(_serve(app, arguments.host, reservation.getsockname()[1]))
    except OSError as error:
        sys.exit(f"demo model: cannot listen on {arguments.host}:{arguments.port}: {error.strerror}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bobbin_gateway.demo_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed when it listens")
    parser.add_argument("--recordings", type=Path, help="folder of the .sse files of recording:<name>")
    parser.add_argument("--record-requests", action="store_true", help="offer GET /requests")
    return parser.parse_args()


def _reserved(host: str, port: int) -> socket.socket:
    """A bound socket, not a listening one, that keeps the port for granian.

    granian shares its port with every socket that agrees to share (SO_REUSEPORT), and so does not notice a
    port in use: a plain bind does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind((host, port))
    return reservation


async def _serve(app: App, host: str, port: int) -> None:
    server = Server(
        app,
        host,
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        backpressure=100_000,
        log_enabled=False,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        await _listening(host, port)
        print(f"demo model: http://{host}:{port}/v1", flush=True)  # noqa: T201 - the line that callers wait for


async def _listening(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


if __name__ == "__main__":
    main()
