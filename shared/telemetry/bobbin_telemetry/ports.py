"""Whether a service can listen where it is to."""

from __future__ import annotations

import socket
import time

_WAIT_S = 2.0
"""How long a start waits for the workers of a killed service to let go of the port."""


def check_port(host: str, port: int, settings: str) -> None:
    """Look whether the address can be listened on: granian would share a port in use with its present owner.

    Args:
        host: A name or an address.
        port: The port.
        settings: Where both come from.

    Raises:
        ValueError: It cannot; the text says why.
    """
    deadline = time.monotonic() + _WAIT_S
    while (error := _refusal(host, port)) is not None:
        if time.monotonic() > deadline:
            raise ValueError(f"cannot listen on {host}:{port} ({settings}): {error.strerror}") from error
        time.sleep(0.1)


def _refusal(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
