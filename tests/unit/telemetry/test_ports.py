"""A port is looked at before a service starts: one in use is waited for, and then refused."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bobbin_telemetry import ports
from bobbin_telemetry.ports import check_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_free_port_is_taken(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    check_port(host, port, "HOST, PORT")


def test_a_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_WAIT_S", 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ValueError, match=rf"127.0.0.1:{port} \(HOST, PORT\): .*in use"):
            check_port("127.0.0.1", port, "HOST, PORT")


def test_a_port_that_is_about_to_be_free_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Timer(0.3, server.close)
        closing.start()
        began = time.monotonic()
        check_port("127.0.0.1", server.getsockname()[1], "HOST, PORT")
        assert time.monotonic() - began >= 0.2
        closing.join()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.name.invalid"])
def test_an_address_of_someone_else_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_WAIT_S", 0)
    with pytest.raises(ValueError, match="cannot listen on"):
        check_port(host, 1, "HOST, PORT")
