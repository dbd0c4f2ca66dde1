"""Starting the model server."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

COMMAND = [sys.executable, "-m", "bobbin_gateway.demo_model"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_at_once(how: signal.Signals) -> None:
    """On a port of its own choice, without the list of requests; Ctrl-C leaves no traceback."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        prefix, _, base_url = process.stdout.readline().strip().partition(": ")
        assert (prefix, base_url.endswith("/v1")) == ("demo model", True)
        assert httpx.get(f"{base_url}/models").json()["data"][0]["id"] == "demo"
        assert httpx.get(f"{base_url.removesuffix('/v1')}/requests").status_code == 404
        process.send_signal(how)
        _, errors = process.communicate(timeout=5)
    assert process.returncode == -how
    assert errors == ""


def test_a_port_in_use_is_one_clear_line() -> None:
    """Even if who uses it would share it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"demo model: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    """Named, before anything listens."""
    missing = str(tmp_path / "none")
    ended = subprocess.run(
        [*COMMAND, "--recordings", missing], capture_output=True, text=True, check=False, timeout=20
    )
    assert (ended.returncode, ended.stderr) == (1, f"demo model: there is no folder {missing}\n")
