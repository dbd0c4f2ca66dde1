"""``make run`` and the start of each service, as a person at a terminal sees them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.client import Client, answers_of, errors_of, thread_id_of
from tests.conftest import ROOT
from tests.processes import free_port
from tests.stack import STORE_TOKEN, temporary_data

pytestmark = pytest.mark.timeout(180)

QUICK = 40.0
"""Seconds that a start may take on a busy machine."""


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings}


def refused(module: str, **settings: str) -> str:
    """What a service that must not start says."""
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env=environment(**settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=QUICK,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    return ended.stderr


@contextmanager
def taken_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("module", "name"), [("bobbin_gateway", "GATEWAY_PORT"), ("bobbin_store", "STORE_PORT")]
)
def test_a_port_in_use_is_one_clear_line(module: str, name: str, tmp_path: Path) -> None:
    with taken_port() as port:
        said = refused(module, STORE_TOKEN=STORE_TOKEN, DATA_DIR=str(tmp_path), **{name: port})
    assert len(said.strip().splitlines()) == 1
    assert port in said
    assert name in said


def test_broken_settings_are_named_all_at_once() -> None:
    said = refused(
        "bobbin_gateway", GATEWAY_PORT="http", TURN_TIMEOUT_S="-1", MODEL_API="smoke", STORE_TOKEN="short"
    )
    for name in ("GATEWAY_PORT", "TURN_TIMEOUT_S", "MODEL_API", "STORE_TOKEN"):
        assert name in said
    assert "short" not in said.replace("shorter", ""), "a secret must not be printed"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "STORE_TOKEN"),
        ({"STORE_TOKEN": STORE_TOKEN, "GATEWAY_HOST": "0.0.0.0"}, "ALLOW_ANONYMOUS"),
        ({"STORE_TOKEN": STORE_TOKEN, "AUTH": "jwt"}, "JWT_SECRET"),
        ({"STORE_TOKEN": STORE_TOKEN, "AUTH": "jwt", "JWT_SECRET": "weak"}, "JWT_SECRET"),
        ({"STORE_TOKEN": STORE_TOKEN, "GATEWAY_AGENT": "nowhere:agent"}, "GATEWAY_AGENT"),
        ({"STORE_TOKEN": STORE_TOKEN, "GATEWAY_AGENT": "os:path"}, "GATEWAY_AGENT"),
    ],
    ids=["no token", "open door", "no key", "weak key", "no such agent", "not an agent"],
)
def test_a_start_that_cannot_work_says_why(settings: dict[str, str], named: str) -> None:
    said = refused("bobbin_gateway", **settings)
    assert named in said
    assert "Traceback" not in said


@contextmanager
def everything(data: Path, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``make run``, ready; ended by Ctrl-C."""
    gateway, store = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "services/run.py"],
        env=environment(GATEWAY_PORT=str(gateway), STORE_PORT=str(store), DATA_DIR=str(data), **settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{gateway}"
    try:
        _await_answer(url, process)
        yield url, process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + QUICK
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0].decode()
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} is not ready after {QUICK} s")


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _is_gateway(process: psutil.Process) -> bool:
    try:
        return "bobbin_gateway" in process.cmdline()
    except psutil.NoSuchProcess:  # another one, that has ended meanwhile
        return False


async def test_one_command_gives_a_chat_with_a_demo_model_and_ctrl_c_ends_all_of_it() -> None:
    with temporary_data() as data:
        with everything(data) as (url, process):
            async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                events = await Client(http).create("Hello")
                png = b"\x89PNG\r\n\x1a\n" + bytes(100)
                form = {"file": ("a.png", png, "image/png")}
                image = (await http.post("/chatkit/attachments", files=form)).json()
            assert answers_of(events)[0]
            family = _family(process)
            assert len(family) >= 3
        assert process.returncode == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []

        with everything(data) as (url, _):
            async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                threads = (await Client(http).call("threads.list"))["data"]
                preview = await http.get(urlsplit(image["preview_url"]).path)
        assert preview.content == png
        assert [thread["id"] for thread in threads] == [thread_id_of(events)]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"GATEWAY_PORT": "99999"}, "GATEWAY_PORT"),
        ({"EXAMPLE": "none"}, "known are: tasks"),
        ({"EXAMPLE": "../examples/tasks"}, "known are: tasks"),
        ({"EXAMPLE_MCP": "1"}, "needs an EXAMPLE"),
        ({"EXAMPLE": "tasks", "EXAMPLE_MCP": "perhaps"}, "EXAMPLE_MCP"),
        ({"EXAMPLE": "tasks", "EXAMPLE_MCP": "1", "MCP_CONFIG": "mine.json"}, "MCP_CONFIG"),
    ],
)
def test_a_broken_setting_is_named_before_anything_starts(settings: dict[str, str], named: str) -> None:
    ended = subprocess.run(
        [sys.executable, "services/run.py"],
        env=environment(**settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=QUICK,
        check=False,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert named in ended.stderr


def test_an_impatient_operator_leaves_no_orphans() -> None:
    with temporary_data() as data, everything(data) as (_, process):
        family = _family(process)
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert process.wait(40) == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


async def test_if_one_process_dies_the_others_stop_too() -> None:
    with temporary_data() as data, everything(data) as (_, process):
        gateway = next(one for one in _family(process) if _is_gateway(one))
        family = _family(process)
        gateway.kill()
        assert process.wait(40) == 1
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


async def test_an_agent_of_your_own_answers(tmp_path: Path) -> None:
    source = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "my_agent.py").write_text(source)
    settings = {"GATEWAY_AGENT": "my_agent:agent", "PYTHONPATH": str(tmp_path)}
    with temporary_data() as data, everything(data, **settings) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            events = await Client(http).create("Hello")
    assert errors_of(events) == []
    assert answers_of(events) == ["You said: Hello"]
