"""Clients that vanish without a word: their connections are given up when nothing is acknowledged.

What the kernel does by itself is to send again and again, for a quarter of an hour (tcp(7), `tcp_retries2`);
all that time an answer would have a reader that is no more. A listening socket passes the limit on to the
connections that it accepts. The server keeps that socket to itself, so it is found among the open files.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import structlog

log = structlog.get_logger()

_FILES = Path("/proc/self/fd")
_CAN_LIMIT = hasattr(socket, "TCP_USER_TIMEOUT") and _FILES.is_dir()
_PAUSE_S = 0.002
_PATIENCE_S = 10.0


async def limit_unacknowledged(port: int, limit_s: float) -> None:
    """Give up connections to this port whose client acknowledges nothing for so long; from now on.

    Where the kernel has no such limit (TCP_USER_TIMEOUT: Linux has it), nothing happens.
    """
    if not _CAN_LIMIT:
        return
    clock = asyncio.get_running_loop().time
    deadline = clock() + _PATIENCE_S
    while not _limit(port, int(limit_s * 1000)):
        if clock() > deadline:
            log.warning("no listening socket found: vanished clients are noticed late", port=port)
            return
        await asyncio.sleep(_PAUSE_S)


def _limit(port: int, limit_ms: int) -> bool:
    """Set the limit on the sockets that listen; whether there is one."""
    found = False
    for entry in _FILES.iterdir():
        try:
            opened = socket.socket(fileno=int(entry.name))
        except OSError:  # closed meanwhile, or no socket
            continue
        try:
            if _listens(opened, port):
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
                found = True
        finally:
            opened.detach()  # it is the server's
    return found


def _listens(opened: socket.socket, port: int) -> bool:
    if opened.family not in {socket.AF_INET, socket.AF_INET6} or opened.type != socket.SOCK_STREAM:
        return False
    return (
        bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and opened.getsockname()[1] == port
    )
