"""A tool of an MCP server, as a tool like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec
from mcp import MCPError, types

from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.mcp.configuration import McpServer
from bobbin_gateway.tools.mcp.connection import Connection
from bobbin_gateway.tools.mcp.limits import ServerGone
from bobbin_gateway.tools.mcp.listing import Offer
from bobbin_gateway.tools.mcp.names import one_line
from bobbin_gateway.tools.mcp.progress import shown_progress
from bobbin_gateway.tools.mcp.results import result_text
from bobbin_gateway.tools.mcp.widgets import show_widgets
from bobbin_gateway.tools.tool import Tool, ToolError, ToolSpec

MAX_REFUSAL = 2000


class ServerTools:
    """The tools of all servers."""

    def __init__(self, servers: Sequence[McpServer]) -> None:
        self._connections = [Connection(server) for server in servers]
        self._running = anyio.CancelScope()

    async def run(self) -> None:
        """Keep the connections, until told to stop."""
        with self._running:
            async with anyio.create_task_group() as tasks:
                for connection in self._connections:
                    tasks.start_soon(connection.run, name=f"MCP server {connection.server.name}")

    def stop(self) -> None:
        """End `run`.

        A task's own `cancel` can be lost in anyio: where the scope of a child ends in the same moment, one
        cancellation too many is taken back. A scope's is repeated until all have left it.
        """
        self._running.cancel()

    def tools(self) -> list[Tool]:
        """Those on offer now."""
        return [
            ServerTool(connection, offer) for connection in self._connections for offer in connection.offers
        ]


class ServerTool:
    """One tool of one server; it stays callable while the server is away, and says so then."""

    def __init__(self, connection: Connection, offer: Offer) -> None:
        self._connection = connection
        self._offer = offer

    @property
    def spec(self) -> ToolSpec:
        return self._offer.spec

    @property
    def timeout_s(self) -> float | None:
        return self._connection.server.timeout_s

    async def call(self, context: ToolContext, arguments: str) -> str:
        """Have the server do it; gives its answer as text. Cancelling this cancels the call at the server.

        A server that the operator trusts can show widgets.

        Raises:
            ToolError: The server cannot be reached, or answers that it failed, or not in time, or unusably.
        """
        decoded = _object(arguments)
        server = self._connection.server.title
        try:
            async with asyncio.timeout(self.timeout_s), shown_progress(context) as on_progress:
                result = await self._connection.call(
                    self._offer.name, decoded, self._meta(context), on_progress
                )
        except TimeoutError:
            raise ToolError(
                f"{server} did not answer in time ({self.timeout_s} s); the call was cancelled."
            ) from None
        except ServerGone:
            raise ToolError(f"{server} cannot be reached at the moment; nothing was done.") from None
        except MCPError as error:
            said = one_line(error.message, MAX_REFUSAL)
            if error.code == types.CONNECTION_CLOSED:
                raise ToolError(
                    f"The answer of {server} was lost ({said}); it may or may not have done what was asked."
                ) from error
            if error.code == types.PARSE_ERROR:
                raise ToolError(f"{server} gave an answer that cannot be used: {said}") from error
            raise ToolError(f"{server} refused the call: {said}") from error
        except ValueError as error:
            raise ToolError(f"{server} gave an answer that cannot be used.") from error
        if isinstance(result, types.InputRequiredResult):
            raise ToolError(f"{server} asks for more than the arguments, which cannot be given to it here.")
        text = result_text(result)
        if result.is_error:
            raise ToolError(text or f"{server} failed, and did not say why.")
        if self._connection.server.trusted:
            await show_widgets(result, context, server)
        return text or "(no output)"

    def _meta(self, context: ToolContext) -> dict[str, str] | None:
        """Whose turn it is: personal data, so only for servers that the operator trusts with it."""
        if not self._connection.server.trusted:
            return None
        return {"bobbin/owner_id": context.owner_id, "bobbin/thread_id": context.thread.id}


def _object(arguments: str) -> dict[str, Any]:
    """The arguments; a model that needs none may write nothing at all."""
    if not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ToolError(f"The arguments must be a JSON object: {error}") from error
