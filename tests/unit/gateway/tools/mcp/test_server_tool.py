"""A tool of a real MCP server, started by us or behind HTTP, is a tool like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bobbin_gateway.tools.mcp.configuration import McpServer
from bobbin_gateway.tools.mcp.progress import PAUSE_S
from bobbin_gateway.tools.mcp.servers import McpTools
from bobbin_gateway.tools.tool import ToolError
from tests.mcp import Shown, by_http, by_stdio, call, http_service, named, opened, until, words
from tests.processes import free_port, running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp") / "log"


KINDS = {
    "stdio": {},
    "stdio with handshake": {"HANDSHAKE": "1"},
    "http": {},
    "http with handshake": {"HANDSHAKE": "1"},
    "http by JSON": {"JSON": "1"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(kind: str, log: Path) -> Iterator[McpServer]:
    environ = {"LOG": str(log), **KINDS[kind]}
    if kind.startswith("stdio"):
        yield by_stdio(env=environ, trusted=True)
        return
    with running(http_service(free_port(), **environ)) as service:
        yield by_http(service.url, trusted=True)


@pytest.fixture(scope="module")
async def mcp(server: McpServer) -> AsyncIterator[McpTools]:
    async with opened(server) as mcp:
        yield mcp


async def test_the_model_is_told_what_there_is(mcp: McpTools) -> None:
    spec = named(mcp, "it__add").spec
    assert (spec.title, spec.description) == ("It: Add two numbers", "Add them up.")
    assert spec.parameters["type"] == "object"
    assert set(spec.parameters["properties"]) == {"a", "b"}
    assert named(mcp, "it__only_structured").spec.title == "It: Only structured"


async def test_a_call_gives_the_text_of_its_result(mcp: McpTools) -> None:
    assert await call(mcp, "it__add", a=2, b=3) == "5"


async def test_many_calls_at_once_get_each_its_own(mcp: McpTools) -> None:
    sums = await asyncio.gather(*(call(mcp, "it__add", a=a, b=1) for a in range(20)))
    assert sums == [str(a + 1) for a in range(20)]


async def test_slow_calls_run_side_by_side(mcp: McpTools) -> None:
    began = time.monotonic()
    await asyncio.gather(*(call(mcp, "it__slow", seconds=1) for _ in range(5)))
    assert time.monotonic() - began < 4.5  # one after another they would take 5


async def test_what_is_no_text_is_described(mcp: McpTools) -> None:
    assert (await call(mcp, "it__pictures")).splitlines() == [
        "[image: image/png, 3 bytes]",
        "[audio: audio/wav, 2 bytes]",
        "[resource: report, file:///report.pdf, application/pdf]",
        "[resource: x:blob, a/b, 1 bytes]",
        "words of a file",
    ]


async def test_data_without_text_is_given_as_json(mcp: McpTools) -> None:
    assert await call(mcp, "it__only_structured") == '{"rain":[1,2]}'


async def test_a_servers_schema_cannot_keep_the_gateway_busy(mcp: McpTools) -> None:
    assert await call(mcp, "it__trap") == f'{{"text":"{"a" * 60}!"}}'


async def test_a_tool_that_fails_tells_the_model_why(mcp: McpTools) -> None:
    with pytest.raises(ToolError, match="the disk is full"):
        await call(mcp, "it__fail")


async def test_arguments_that_do_not_fit_are_told_to_the_model(mcp: McpTools) -> None:
    with pytest.raises(ToolError, match="valid"):
        await call(mcp, "it__add", a="one", b=2)


@pytest.mark.parametrize("arguments", ["[1]", "{", '"a"', "null", '{"a": \ud800}', "[" * 100_000])
async def test_arguments_that_are_no_object_are_refused(mcp: McpTools, arguments: str) -> None:
    with pytest.raises(ToolError, match="must be a JSON object"):
        await named(mcp, "it__add").call(Shown().context, arguments)


async def test_no_arguments_at_all_are_none(mcp: McpTools) -> None:
    assert "words of a file" in await named(mcp, "it__pictures").call(Shown().context, " ")


async def test_progress_is_shown_as_plain_words(mcp: McpTools, kind: str) -> None:
    shown = Shown()
    await call(mcp, "it__slow", shown=shown, seconds=0.3)
    told = [r"half \*asleep\* \!\[x\](http://evil.example/x) (25%)"]
    assert shown.steps == ([] if kind == "http by JSON" else told)  # one document has no room for progress


async def test_no_flood_of_progress_reaches_the_user(mcp: McpTools) -> None:
    shown, began = Shown(), time.monotonic()
    assert await call(mcp, "it__chatter", shown=shown, times=2000) == "told"
    assert len(shown.steps) <= (time.monotonic() - began) / PAUSE_S + 2


async def test_a_cancelled_call_is_cancelled_at_the_server(mcp: McpTools, kind: str, log: Path) -> None:
    if kind == "http by JSON":
        pytest.skip("the package's server does not notice there that nobody waits any more")
    before = words(log)
    calling = asyncio.create_task(call(mcp, "it__slow", seconds=60))
    await until(lambda: words(log) == [*before, "begun"])
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await until(lambda: words(log) == [*before, "begun", "cancelled"], within_s=5)
    assert await call(mcp, "it__add", a=1, b=1) == "2"


async def test_a_trusted_server_is_told_who_asks(mcp: McpTools) -> None:
    assert await call(mcp, "it__who") == "ann in thr_1"


async def test_a_trusted_server_can_show_widgets(mcp: McpTools) -> None:
    shown = Shown()
    assert await call(mcp, "it__show", shown=shown) == "shown"
    assert [event.item.copy_text for event in shown.events] == ["Hi"]


async def test_a_server_that_asks_the_user_is_refused_cleanly(mcp: McpTools) -> None:
    with pytest.raises(ToolError):
        await call(mcp, "it__ask")
    assert await call(mcp, "it__add", a=1, b=1) == "2"


async def test_ten_megabytes_are_passed_on(mcp: McpTools) -> None:
    assert len(await call(mcp, "it__huge", megabytes=10)) == 10_000_000


async def test_more_than_can_be_kept_is_an_error_of_that_call(mcp: McpTools) -> None:
    with pytest.raises(ToolError, match=r"larger than|exceeded|sent a message|Connection closed"):
        await call(mcp, "it__huge", megabytes=20)
    assert await call(mcp, "it__add", a=1, b=1) == "2"


async def test_a_tool_that_comes_later_is_on_offer_at_once(mcp: McpTools) -> None:
    await call(mcp, "it__learn", name="late")
    await until(lambda: any(tool.spec.name == "it__late" for tool in mcp.tools()), within_s=10)
    assert await call(mcp, "it__late") == "taught"
    assert named(mcp, "it__late").spec.title == "It: Taught late"
