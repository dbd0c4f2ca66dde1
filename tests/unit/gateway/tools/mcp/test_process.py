"""Programs that are started as servers, and what they do that no server should."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import anyio
import psutil
import pytest
import structlog

from bobbin_gateway.tools.mcp import process
from bobbin_gateway.tools.mcp.configuration import Program
from bobbin_gateway.tools.mcp.limits import ServerGone
from bobbin_gateway.tools.mcp.process import started

MESSAGE = '{"jsonrpc":"2.0","method":"notifications/message"}'
SLEEP = ["sleep", f"61.{uuid4().int % 10**9}"]
"""A command that no other run of these tests has."""


def program(source: str) -> Program:
    return Program(command=sys.executable, args=["-u", "-c", source], env={}, cwd=None)


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    before = psutil.Process().children(recursive=True)
    yield
    assert psutil.Process().children(recursive=True) == before


async def test_lines_that_are_no_messages_are_passed_over_and_reported_once() -> None:
    source = f"print('Welcome!'); print(); print('{{}}'); print('''{MESSAGE}'''); input()"
    with structlog.testing.capture_logs() as logs:
        async with started("it", program(source)) as (received, _):
            item: Any = await received.receive()
            assert item.message.method == "notifications/message"
    assert [entry["server"] for entry in logs] == ["it"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("print('short')", r"it has ended \(status 0\)"),
        ("import os; os.abort()", r"it has ended \(status -6\)"),
        ("while True: print('x' * 1000, end='')", "a message of more than 16777216 bytes"),
    ],
)
async def test_why_a_server_is_gone(source: str, why: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ServerGone, match=why)):
        async with started("it", program(source)) as (received, _):
            await received.receive()


async def test_a_server_that_reads_no_more_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os, time; os.close(0); print('closed'); time.sleep(60)"
    message: Any = process.jsonrpc_message_adapter.validate_json(MESSAGE)
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    with pytest.RaisesGroup(pytest.RaisesExc(ServerGone, match="reads its standard input no more")):
        async with started("it", program(source)) as (_, sent):
            while True:
                await sent.send(process.SessionMessage(message))
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "source",
    [
        "import time; ready(); time.sleep(60)",
        "import signal, time; signal.signal(15, signal.SIG_IGN); ready(); time.sleep(60)",
        f"import subprocess, time; subprocess.Popen({SLEEP}); ready(); time.sleep(60)",
        f"import subprocess; subprocess.Popen({SLEEP}); ready()",
        "ready()\nwhile True: print('x' * 100000)",
    ],
    ids=["does not look at its input", "does not mind SIGTERM", "has children", "left some", "talks on"],
)
async def test_a_server_that_will_not_end_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    source = f"def ready(): print({MESSAGE!r})\n{source}"
    async with asyncio.timeout(20), started("it", program(source)) as (received, _):
        await received.receive()
    commands = [child.info["cmdline"] for child in psutil.process_iter(["cmdline"])]
    assert SLEEP not in commands


async def test_leaving_by_cancellation_stops_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    with anyio.move_on_after(0.2):
        async with started("it", program("import time; time.sleep(60)")):
            await anyio.sleep_forever()


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        async with started("it", Program(command="no-such-program", args=[], env={}, cwd=None)):
            pass
