"""The tools that an agent has at hand: fixed ones, and those of sources that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import structlog

from bobbin_gateway.tools.tool import ClientTool, Tool, ToolSpec

log = structlog.get_logger()

ToolSource: TypeAlias = Callable[[], Iterable[Tool]]
"""Gives the tools that there are at this moment, such as those of an MCP server."""


class Toolbox:
    """Tools by their names; of two with one name the first counts, fixed ones before those of sources."""

    def __init__(self, tools: Sequence[Tool | ClientTool] = (), sources: Sequence[ToolSource] = ()) -> None:
        """Put tools together.

        Raises:
            ValueError: Two fixed tools have one name.
        """
        self._fixed: dict[str, Tool | ClientTool] = {}
        for tool in tools:
            if tool.spec.name in self._fixed:
                raise ValueError(f"Two tools are called {tool.spec.name!r}")
            self._fixed[tool.spec.name] = tool
        self._sources = sources

    def tools(self) -> dict[str, Tool | ClientTool]:
        """The tools as they are now. Take them once for each question to the model."""
        tools = dict(self._fixed)
        for source in self._sources:
            for tool in source():
                if tools.setdefault(tool.spec.name, tool) is not tool:
                    log.warning("two tools have one name", name=tool.spec.name)
        return tools


def specs(tools: Mapping[str, Tool | ClientTool]) -> list[ToolSpec]:
    """What the model is told of them."""
    return [tool.spec for tool in tools.values()]


def shown_title(tools: Mapping[str, Tool | ClientTool], name: str) -> str | None:
    """What the user sees of a call; None for one that they see anyway: the page runs it."""
    tool = tools.get(name)
    if isinstance(tool, ClientTool):
        return None
    return name if tool is None else tool.spec.title
