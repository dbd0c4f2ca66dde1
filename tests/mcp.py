"""MCP for tests: servers as a configuration names them, calls as the agent's loop makes them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.mcp.configuration import Address, McpServer, Program
from bobbin_gateway.tools.mcp.names import server_prefix
from bobbin_gateway.tools.mcp.servers import McpTools, open_mcp
from bobbin_gateway.tools.tool import Tool
from bobbin_protocol.threads import ThreadMetadata
from tests.conftest import ROOT
from tests.processes import Service

SERVER = "tests.mcp_server"


def by_stdio(name: str = "it", *, env: dict[str, str] | None = None, **options: Any) -> McpServer:
    """The test server, started by us."""
    program = Program(command=sys.executable, args=["-m", SERVER, "stdio"], env=env or {}, cwd=str(ROOT))
    return a_server(name, program, **options)


def by_http(
    url: str, name: str = "it", *, headers: dict[str, str] | None = None, **options: Any
) -> McpServer:
    """A server that runs already."""
    return a_server(name, Address(url=f"{url}/mcp", headers=headers or {}), **options)


def a_server(name: str, transport: Program | Address, **options: Any) -> McpServer:
    fields = {"title": name.title(), "timeout_s": 20.0, "tools": None, "trusted": False} | options
    return McpServer(name=name, prefix=server_prefix(name), transport=transport, **fields)


def http_service(port: int, **environ: str) -> Service:
    """The test server as a process with a port, not started yet."""
    return Service(SERVER, port, "http", str(port), ready="/ready", **environ)


class Shown:
    """A tool's context; what it shows is kept."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.events: list[Any] = []
        now = datetime.now(UTC)
        turn = Turn(
            id="trn_1",
            owner_id="ann",
            thread=ThreadMetadata(id="thr_1", created_at=now),
            history=[],
            message=None,
        )
        self.context = ToolContext(turn, self._emit, self._step)

    async def _emit(self, event: Any) -> None:
        self.events.append(event)

    async def _step(self, text: str) -> None:
        self.steps.append(text)


@asynccontextmanager
async def opened(*servers: McpServer) -> AsyncGenerator[McpTools]:
    """The servers, each with its tools known."""
    async with open_mcp(servers) as mcp:
        await until(lambda: len({tool.spec.name.split("__")[0] for tool in mcp.tools()}) == len(servers))
        yield mcp


async def until(true: Callable[[], Any], within_s: float = 20.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 (what it waits for happens in other processes)
            await asyncio.sleep(0.02)


def named(mcp: McpTools, name: str) -> Tool:
    """The tool of this name."""
    return next(tool for tool in mcp.tools() if tool.spec.name == name)


async def call(mcp: McpTools, tool: str, *, shown: Shown | None = None, **arguments: Any) -> str:
    """Call a tool as a model would."""
    text = msgspec.json.encode(arguments).decode()
    return await named(mcp, tool).call((shown or Shown()).context, text)


def words(path: Path) -> list[str]:
    """What the test server has noted."""
    return path.read_text().split() if path.exists() else []
