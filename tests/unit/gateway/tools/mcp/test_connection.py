"""Servers come, go and come back; the tools stay, and whoever calls them is told how things are."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import structlog
from mcp import MCPError, types

from bobbin_gateway.tools.mcp import connection
from bobbin_gateway.tools.mcp.configuration import Program
from bobbin_gateway.tools.mcp.connection import Connection, _unless_lost
from bobbin_gateway.tools.mcp.servers import open_mcp
from bobbin_gateway.tools.tool import ToolError
from tests.mcp import Shown, a_server, by_http, by_stdio, call, http_service, named, opened, until, words
from tests.processes import Service, free_port, running

Logs = list[Any]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with structlog.testing.capture_logs() as logs:
        yield logs


@pytest.fixture(params=[{}, {"HANDSHAKE": "1"}], ids=["without handshake", "with handshake"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    service = http_service(free_port(), LOG=str(tmp_path / "log"), **request.param)
    try:
        yield service
    finally:
        service.stop()


def away(logs: Logs) -> list[Any]:
    return [entry for entry in logs if entry["event"] == "MCP server is away"]


async def test_a_server_that_is_down_at_start_is_reported_and_joins_later(
    service: Service, logs: Logs
) -> None:
    began = time.monotonic()
    async with open_mcp([by_http(service.url)]) as mcp:
        assert time.monotonic() - began < 6
        assert mcp.tools() == []
        await until(lambda: away(logs))
        assert away(logs)[0]["server"] == "it"
        await asyncio.to_thread(service.start)
        await until(mcp.tools)
        assert await call(mcp, "it__add", a=1, b=2) == "3"


async def test_a_server_killed_in_mid_call_is_told_and_works_again_when_it_is_back(
    service: Service, logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAIT_S", 60)
    await asyncio.to_thread(service.start)
    async with opened(by_http(service.url)) as mcp:
        offered = [tool.spec for tool in mcp.tools()]
        calling = asyncio.create_task(call(mcp, "it__slow", seconds=60))
        await until(lambda: "begun" in words(tmp_path / "log"))
        await asyncio.to_thread(service.kill)
        with pytest.raises(ToolError, match="may or may not have done"):
            await calling
        await until(lambda: away(logs))
        assert [tool.spec for tool in mcp.tools()] == offered, "its tools stay on offer"
        waiting = asyncio.create_task(call(mcp, "it__add", a=1, b=2))
        await asyncio.to_thread(service.start)
        assert await waiting == "3", "who calls in between waits for it"


async def test_a_server_that_stays_away_is_said_to_be_away(
    service: Service, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAIT_S", 0.5)
    await asyncio.to_thread(service.start)
    async with opened(by_http(service.url)) as mcp:
        await asyncio.to_thread(service.kill)
        with pytest.raises(ToolError):
            await call(mcp, "it__add", a=1, b=2)
        await until(lambda: len(away(logs)) > 1)
        began = time.monotonic()
        with pytest.raises(ToolError, match="cannot be reached"):
            await call(mcp, "it__add", a=1, b=2)
        assert time.monotonic() - began < 6


async def test_a_restart_between_two_calls_is_not_noticed_by_the_model(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAIT_S", 60)
    await asyncio.to_thread(service.start)
    async with opened(by_http(service.url)) as mcp:
        assert await call(mcp, "it__add", a=1, b=2) == "3"
        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)
        assert await call(mcp, "it__add", a=3, b=4) == "7"
        assert words(tmp_path / "log") == ["add", "add"], "each call once"


async def test_a_server_that_dies_in_silence_is_noticed_without_a_call(
    service: Service, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_INTERVAL_S", 0.3)
    await asyncio.to_thread(service.start)
    async with opened(by_http(service.url)):
        await asyncio.to_thread(service.kill)
        await until(lambda: away(logs))


async def test_a_server_of_ours_that_ends_in_mid_call_is_started_again(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAIT_S", 60)
    async with opened(by_stdio()) as mcp:
        with pytest.raises(ToolError, match="may or may not have done"):
            await call(mcp, "it__die")
        assert await call(mcp, "it__add", a=1, b=2) == "3"
    assert [entry["reason"] for entry in away(logs)] == ["it has ended (status 7)"]


async def test_one_server_that_is_down_harms_no_other(logs: Logs) -> None:
    nobody = Program(command="no-such-program", args=[], env={}, cwd=None)
    async with open_mcp([a_server("gone", nobody), by_stdio("here")]) as mcp:
        await until(mcp.tools)
        assert await call(mcp, "here__add", a=1, b=2) == "3"
        await until(lambda: len(away(logs)) >= 3)
    pauses = [entry["retry_s"] for entry in away(logs)]
    assert pauses == sorted(set(pauses)), "they grow"
    assert "no-such-program" in away(logs)[0]["reason"]


async def test_a_refused_token_is_reported_with_its_status_and_without_the_token(logs: Logs) -> None:
    service = http_service(free_port(), TOKEN="right")
    with running(service):
        wrong = {"Authorization": "Bearer wrong"}
        async with open_mcp([by_http(service.url, headers=wrong)]) as mcp:
            await until(lambda: away(logs))
            assert mcp.tools() == []
        right = {"Authorization": "Bearer right"}
        async with opened(by_http(service.url, headers=right)) as mcp:
            assert await call(mcp, "it__add", a=1, b=2) == "3"
    assert "401" in away(logs)[0]["reason"]
    assert "wrong" not in str(logs)


async def test_a_server_that_says_nothing_delays_neither_start_nor_end() -> None:
    mute = Program(command=sys.executable, args=["-c", "import time; time.sleep(60)"], env={}, cwd=None)
    children = psutil.Process().children()
    began = time.monotonic()
    async with open_mcp([a_server("mute", mute)]) as mcp:
        assert mcp.tools() == []
        await until(lambda: len(psutil.Process().children()) > len(children))
    assert time.monotonic() - began < 8
    assert psutil.Process().children() == children


async def test_leaving_stops_the_servers_of_ours_and_their_calls(tmp_path: Path) -> None:
    children = psutil.Process().children()
    async with opened(by_stdio(env={"LOG": str(tmp_path / "log")})) as mcp:
        assert len(psutil.Process().children()) == len(children) + 1
        calling = asyncio.create_task(call(mcp, "it__slow", seconds=60))
        await until(lambda: "begun" in words(tmp_path / "log"))
    with pytest.raises(ToolError):
        await calling
    assert psutil.Process().children() == children


async def test_a_call_that_takes_too_long_is_given_up_and_cancelled_at_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with opened(by_stdio(env={"LOG": str(log)}, timeout_s=3)) as mcp:
        assert named(mcp, "it__slow").timeout_s == 3
        with pytest.raises(ToolError, match=r"did not answer in time \(3 s\)"):
            await call(mcp, "it__slow", seconds=60)
        await until(lambda: words(log) == ["begun", "cancelled"])


async def test_a_server_gets_its_own_environment_and_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_TOKEN", "a-secret-of-the-gateway")
    async with opened(by_stdio(env={"ITS_TOKEN": "its-own"})) as mcp:
        assert await call(mcp, "it__environment", name="ITS_TOKEN") == "its-own"
        assert await call(mcp, "it__environment", name="STORE_TOKEN") == "unset"


async def test_a_server_that_is_not_trusted_is_not_told_who_asks() -> None:
    async with opened(by_stdio()) as mcp:
        assert await call(mcp, "it__who") == "None in None"


async def test_a_server_that_is_not_trusted_shows_no_widgets() -> None:
    async with opened(by_stdio()) as mcp:
        shown = Shown()
        assert await call(mcp, "it__show", shown=shown) == "shown"
        assert shown.events == []


async def test_only_chosen_tools_are_offered() -> None:
    async with opened(by_stdio(tools=frozenset({"add", "nothing"}))) as mcp:
        assert [tool.spec.name for tool in mcp.tools()] == ["it__add"]


async def test_leaving_ends_a_connection_that_fails_in_that_moment_and_loses_the_cancellation(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = asyncio.Event()

    async def keep(_: Connection) -> None:
        kept.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # as anyio does when the scope of a child ends meanwhile
            raise anyio.BrokenResourceError from error

    monkeypatch.setattr(Connection, "_keep", keep)
    async with asyncio.timeout(10), open_mcp([by_stdio()]):
        await kept.wait()
    assert away(logs) == []


async def test_who_waits_for_an_answer_is_told_of_the_loss_though_the_session_forgets_them() -> None:
    lost = asyncio.Event()
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def call() -> str:
        return await never

    calling = asyncio.create_task(_unless_lost(call(), lost))
    await asyncio.sleep(0)
    lost.set()
    with pytest.raises(MCPError) as failure:
        await asyncio.wait_for(calling, 5)
    assert failure.value.code == types.CONNECTION_CLOSED
    assert never.cancelled()


async def test_a_call_that_is_cancelled_is_over_before_whoever_waited_goes_on() -> None:
    """It has to tell the server, while there still is a session."""
    told = asyncio.Event()

    async def calling() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            told.set()

    waiting = asyncio.create_task(_unless_lost(calling(), asyncio.Event()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert told.is_set()


async def test_how_a_call_fails_that_nobody_waits_for_is_no_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LAST_WORD_S", 0.01)
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    async def calling() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            raise ValueError("too late") from None

    try:
        waiting = asyncio.create_task(_unless_lost(calling(), asyncio.Event()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        await asyncio.sleep(0.1)
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert complaints == []
