"""Tools by their names, wherever they come from."""

from __future__ import annotations

import pytest

from bobbin_gateway.tools.function import FunctionTool, tool
from bobbin_gateway.tools.tool import ClientTool, Tool, ToolSpec
from bobbin_gateway.tools.toolbox import Toolbox, shown_title, specs


def named(name: str, title: str | None = None) -> FunctionTool:
    async def function() -> None: ...

    return tool(name=name, title=title)(function)


def test_what_a_source_gives_is_looked_up_each_time_and_fixed_tools_come_first() -> None:
    there: list[Tool] = [named("b", "Source's"), named("a", "Source's")]
    box = Toolbox([named("a", "Fixed")], [lambda: there])
    assert [spec.title for spec in specs(box.tools())] == ["Fixed", "Source's"]
    there.pop(0)
    assert list(box.tools()) == ["a"]


def test_two_fixed_tools_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="'a'"):
        Toolbox([named("a"), named("a")])


def test_the_user_sees_calls_of_this_side_only() -> None:
    page = ClientTool(spec=ToolSpec(name="page", description="", parameters={}, title="Page"))
    tools = Toolbox([named("a", "Title"), page]).tools()
    assert [shown_title(tools, name) for name in ("a", "page", "unknown")] == ["Title", None, "unknown"]
