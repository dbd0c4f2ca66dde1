"""One session with one server, in the terms that we need."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import anyio
from mcp import ClientSession, MCPError, types
from mcp.client import IncomingMessage
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from bobbin_gateway.tools.mcp.listing import MAX_TOOLS
from bobbin_gateway.tools.mcp.progress import OnProgress

ANSWER_TIMEOUT_S = 60.0
"""Longest wait for an answer that is not a call's. Generous: `npx` may have to load the server first."""
SUBSCRIBE_PAUSE_S = 5.0
_MAX_PAGES = 100
_CLIENT = types.Implementation(name="bobbin", version="0.1.0")


class Session(ClientSession):
    """A session that asks for tools only.

    It says that it can neither ask the user (elicitation) nor the model (sampling) and has no files (roots);
    a server that asks all the same is refused by the package.
    """

    def __init__(self, received: Any, sent: Any, doubt: asyncio.Event) -> None:
        super().__init__(
            received,
            sent,
            read_timeout_seconds=ANSWER_TIMEOUT_S,
            message_handler=self._hear,
            client_info=_CLIENT,
        )
        self._doubt = doubt
        """Set when the list of tools may have changed."""

    async def agree(self) -> None:
        """Agree on a version of the protocol: one without a handshake (2026-07-28), else the latest with one.

        Raises:
            MCPError: There is none, or the server does not answer.
            RuntimeError: There is none.
        """
        try:
            await self.discover()
        except (MCPError, ValueError, RuntimeError):
            try:
                await self.initialize()
            except MCPError as error:
                if error.code != types.UNSUPPORTED_PROTOCOL_VERSION:
                    raise
                await self.discover()  # it took our first question, late, as the choice of version

    async def list_all(self) -> list[types.Tool]:
        """All its tools, or as many as can be of use.

        Raises:
            MCPError: It does not say, in time.
            ValueError: It says what is no list.
        """
        if self.server_capabilities is None or self.server_capabilities.tools is None:
            return []
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None or len(tools) > 8 * MAX_TOOLS:
                break
        return tools

    async def call(
        self, name: str, arguments: dict[str, Any], meta: dict[str, str] | None, on_progress: OnProgress
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Call a tool. There is no time limit; cancelling this cancels the call at the server.

        Raises:
            MCPError: The server refuses the call, or the connection was lost meanwhile.
            ValueError: It answers what is no result.
        """
        return await self.call_tool(
            name,
            arguments,
            read_timeout_seconds=math.inf,
            progress_callback=on_progress,
            meta=None if meta is None else types.RequestParamsMeta(**meta),
            allow_input_required=True,
        )

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        """Take any result: the model reads it, not a program.

        The package would check it against the schema that the server has sent; a regular expression in there
        can keep this process busy for ever.
        """

    async def subscribe(self) -> None:
        """Hear of changes of the list, where that must be asked for (from 2026-07-28 on)."""
        if self.protocol_version not in MODERN_PROTOCOL_VERSIONS or not self._tells_changes():
            return
        while True:
            try:
                async with listen(self, tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._doubt.set()
            except (MCPError, SubscriptionLost, TimeoutError):
                self._doubt.set()
            await anyio.sleep(SUBSCRIBE_PAUSE_S)

    def _tells_changes(self) -> bool:
        tools = self.server_capabilities.tools if self.server_capabilities else None
        return bool(tools and tools.list_changed)

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._doubt.set()
