"""The entry point: what happens with servers is tested with the connections, here what happens without."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from bobbin_gateway.steps import Steps
from bobbin_gateway.tools.mcp import servers
from bobbin_gateway.tools.mcp.servers import open_mcp
from bobbin_gateway.tools.running import Limits, RunningCalls
from bobbin_gateway.tools.tool import ToolCall, ToolResult
from bobbin_gateway.tools.toolbox import Toolbox
from bobbin_protocol.settings import BrokenSettings
from tests.mcp import Shown, by_stdio, opened


async def test_without_servers_there_are_no_tools() -> None:
    async with open_mcp([]) as mcp:
        assert mcp.tools() == []


def test_the_package_is_loaded_only_for_servers() -> None:
    source = (
        "import bobbin_gateway.tools.mcp.configuration, bobbin_gateway.tools.mcp.servers, sys\n"
        "sys.exit('mcp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0


async def test_servers_without_the_package_are_a_broken_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    with pytest.raises(BrokenSettings, match=r"install bobbin-gateway\[mcp\]"):
        async with open_mcp([by_stdio()]):
            pass


async def test_calls_run_beside_each_other_and_are_shown_like_those_of_any_tool() -> None:
    async with opened(by_stdio()) as mcp:
        tools = Toolbox(sources=[mcp.tools]).tools()
        turn = Shown().context.turn
        calls = [ToolCall("a", "it__slow", '{"seconds": 0.3}'), ToolCall("b", "it__fail", "{}")]
        running = RunningCalls(calls, tools, turn, Steps(turn), Limits(timeout_s=20, output_bytes=1000))
        events = [msgspec.json.encode(event).decode() async for event in running.events()]
    assert running.results[0] == ToolResult("a", "slept")
    assert running.results[1].failed
    assert "the disk is full" in running.results[1].output
    assert any("It: Slow" in event and "(25%)" in event for event in events)


async def test_tools_come_in_the_order_of_the_configuration() -> None:
    chosen = frozenset({"add", "fail"})
    async with opened(by_stdio("b", tools=chosen), by_stdio("a", tools=chosen)) as mcp:
        assert [tool.spec.name for tool in mcp.tools()] == ["b__add", "b__fail", "a__add", "a__fail"]
