"""Opens the MCP servers of the configuration for as long as the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Protocol

from bobbin_gateway.tools.mcp.configuration import McpServer
from bobbin_gateway.tools.tool import Tool
from bobbin_protocol.settings import BrokenSettings


class McpTools(Protocol):
    """The tools of all servers."""

    def tools(self) -> list[Tool]:
        """Those on offer now: by server, in the order of the configuration, and then the server's own."""
        ...


@asynccontextmanager
async def open_mcp(servers: Sequence[McpServer]) -> AsyncGenerator[McpTools]:
    """Keep a session with each server, in the background; leaving ends them, and the servers started here.

    It waits for no server: one that is away is told in the log, and tried again with growing pauses.

    Raises:
        BrokenSettings: There are servers, but not the package that speaks with them.
    """
    if not servers:
        yield _NoTools()
        return
    if find_spec("mcp") is None:
        raise BrokenSettings("MCP_CONFIG needs the package mcp: install bobbin-gateway[mcp]")
    from bobbin_gateway.tools.mcp.server_tool import ServerTools  # noqa: PLC0415 (needs the package)

    source = ServerTools(servers)
    running = asyncio.create_task(source.run(), name="MCP servers")
    try:
        yield source
    finally:
        source.stop()
        await asyncio.wait([running])
    running.result()  # raises if it failed


class _NoTools:
    def tools(self) -> list[Tool]:
        return []
