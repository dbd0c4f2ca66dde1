"""The tools as an MCP server: ``python -m tasks.mcp_server``.

It believes what the gateway says of whose call it is (``bobbin/owner_id`` in ``_meta``), so it is for the
gateway only, which shows a token. Widgets go back with the result, in ``bobbin/widgets`` of its ``_meta``.
"""

from __future__ import annotations

import hmac
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import uvicorn
from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.tool import Tool, ToolError
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.ids import new_id
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.settings import BrokenSettings, read_settings
from bobbin_protocol.threads import ThreadMetadata
from tasks.settings import open_store, settings
from tasks.tools import TaskTools

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class ServerSettings(Struct, frozen=True, kw_only=True):
    """What the server needs beside the settings of the example."""

    example_mcp_port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on, at 127.0.0.1")]
    example_mcp_token: Annotated[str, Meta(min_length=16, description="What the gateway shows")]


def create_server(tools: Sequence[Tool]) -> Server[Any]:
    """An MCP server of our tools."""
    by_name = {tool.spec.name: tool for tool in tools}

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in tools])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool called {params.name[:100]!r}")
        call = _Call(_whose(context))
        try:
            text = await tool.call(call.context, msgspec.json.encode(params.arguments or {}).decode())
        except ToolError as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        meta = {"bobbin/widgets": call.widgets} if call.widgets else None
        return types.CallToolResult(content=[types.TextContent(text=text)], _meta=meta)

    return Server("tasks", on_list_tools=list_tools, on_call_tool=call_tool)


def _described(tool: Tool) -> types.Tool:
    spec = tool.spec
    return types.Tool(
        name=spec.name, title=spec.title, description=spec.description, input_schema=spec.parameters
    )


class _Call:
    """What a tool of ours needs to know and to have, made of what an MCP server has."""

    def __init__(self, turn: Turn) -> None:
        self.widgets: list[dict[str, Any]] = []
        self.context = ToolContext(turn, self._keep, self._pass)

    async def _keep(self, event: ThreadStreamEvent) -> None:
        if isinstance(event, ThreadItemDoneEvent) and isinstance(event.item, WidgetItem):
            item: dict[str, Any] = msgspec.to_builtins(event.item)
            self.widgets.append({name: item[name] for name in ("widget", "copy_text") if name in item})

    async def _pass(self, text: str) -> None:
        """Steps are not shown: none of our tools takes long enough."""


def _whose(context: ServerRequestContext[Any]) -> Turn:
    meta = dict(context.meta or {})
    owner_id, thread_id = meta.get("bobbin/owner_id"), meta.get("bobbin/thread_id")
    if not (isinstance(owner_id, str) and owner_id and isinstance(thread_id, str)):
        raise MCPError(types.INVALID_PARAMS, "It is not told whose tasks it is about (bobbin/owner_id)")
    thread = ThreadMetadata(id=thread_id, created_at=datetime.now(UTC))
    return Turn(id=new_id("turn"), owner_id=owner_id, thread=thread, history=[], message=None)


def create_app(tools: Sequence[Tool], token: str) -> Application:
    """The server over streamable HTTP at ``/mcp``, for those who show the token."""
    ready = Route("/health/ready", _ready)
    app = create_server(tools).streamable_http_app(stateless_http=True, custom_starlette_routes=[ready])
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != ready.path:
            shown = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(shown, expected):
                await PlainTextResponse("Unauthorized", 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded


async def _ready(_request: Request) -> Response:
    return PlainTextResponse("ready")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        own, shared = read_settings(ServerSettings, os.environ), settings()
    except BrokenSettings as error:
        sys.exit(str(error))
    app = create_app(TaskTools(open_store(shared)).all(), own.example_mcp_token)
    uvicorn.run(app, host="127.0.0.1", port=own.example_mcp_port, log_level="warning")


if __name__ == "__main__":
    main()
