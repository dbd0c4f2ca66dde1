"""A real MCP server, of the official package: ``python -m tests.mcp_server stdio`` or ``http PORT``.

Variables: ``LOG``, a file that is told what happens, a word a line; ``HANDSHAKE=1``, speak no version of the
protocol that does without (before 2026-07-28); ``JSON=1``, answer by JSON documents, not event streams;
``TOKEN``, to be shown as a bearer token.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp import MCPError, types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response


async def with_handshake(ctx: Any, call_next: Any) -> Any:
    """Not to know the question that modern clients begin with."""
    if ctx.method == "server/discover" and os.environ.get("HANDSHAKE"):
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
    return await call_next(ctx)


async def by_pages(ctx: Any, call_next: Any) -> Any:
    """List five tools at a time, one with a schema that keeps a checker of results busy for ever."""
    result = await call_next(ctx)
    if ctx.method != "tools/list":
        return result
    begin = int((ctx.params or {}).get("cursor") or 0)
    tools = result["tools"]
    for tool in tools:
        if tool["name"] == "trap":
            tool["outputSchema"] = {"type": "object", "properties": {"text": {"pattern": "^(a+)+$"}}}
    more = {"nextCursor": str(begin + 5)} if len(tools) > begin + 5 else {}
    return {**result, "tools": tools[begin : begin + 5], **more}


server = MCPServer("For tests", log_level="WARNING", middleware=[with_handshake, by_pages])


def note(word: str) -> None:
    if path := os.environ.get("LOG"):
        with Path(path).open("a") as file:
            file.write(f"{word}\n")


@server.tool(title="Add two numbers")
def add(a: int, b: int) -> str:
    """Add them up."""
    note("add")
    return str(a + b)


@server.tool(structured_output=False)
def fail() -> str:
    """Fail."""
    raise ToolError("the disk is full")


@server.tool()
async def slow(seconds: float, ctx: Context[Any, Any]) -> str:
    """Take its time, and tell."""
    note("begun")
    try:
        await ctx.report_progress(1, 4, "half *asleep* ![x](http://evil.example/x)")
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        note("cancelled")
        raise
    note("done")
    return "slept"


@server.tool()
async def chatter(times: int, ctx: Context[Any, Any]) -> str:
    """Report more progress than anyone can read."""
    for time in range(times):
        await ctx.report_progress(time, times)
    return "told"


@server.tool()
def die() -> str:
    """End the process at once."""
    os._exit(7)


@server.tool(structured_output=False)
def pictures() -> list[types.ContentBlock]:
    """Answer with everything but text."""
    return [
        types.ImageContent(data="AAAA", mime_type="image/png"),
        types.AudioContent(data="AAA=", mime_type="audio/wav"),
        types.ResourceLink(name="report", uri="file:///report.pdf", mime_type="application/pdf"),
        types.EmbeddedResource(
            resource=types.BlobResourceContents(uri="x:blob", blob="AA==", mime_type="a/b")
        ),
        types.EmbeddedResource(resource=types.TextResourceContents(uri="x:text", text="words of a file")),
    ]


@server.tool(structured_output=False)
def only_structured() -> types.CallToolResult:
    """Answer with data only."""
    return types.CallToolResult(content=[], structured_content={"rain": [1, 2]})


@server.tool(structured_output=False)
def trap() -> types.CallToolResult:
    """Answer with what the pattern of its schema takes ages for."""
    return types.CallToolResult(content=[], structured_content={"text": "a" * 60 + "!"})


@server.tool(structured_output=False)
def huge(megabytes: int) -> str:
    """Answer with a lot of text."""
    return "x" * (megabytes * 1_000_000)


@server.tool(structured_output=False)
def who(ctx: Context[Any, Any]) -> str:
    """Tell who asks."""
    meta = dict(ctx.request_context.meta or {})
    return f"{meta.get('bobbin/owner_id')} in {meta.get('bobbin/thread_id')}"


@server.tool(structured_output=False)
def show() -> types.CallToolResult:
    """Show a widget."""
    card = {"type": "Card", "children": [{"type": "Text", "value": "Hi"}]}
    meta = {"bobbin/widgets": [{"widget": card, "copy_text": "Hi"}]}
    return types.CallToolResult(content=[types.TextContent(text="shown")], _meta=meta)


@server.tool(structured_output=False)
def environment(name: str) -> str:
    """Tell a variable."""
    return os.environ.get(name, "unset")


@server.tool(structured_output=False)
async def ask(ctx: Context[Any, Any]) -> str:
    """Ask the user something."""
    result = await ctx.session.elicit_form("Who are you?", {"type": "object", "properties": {}})
    return result.action


@server.tool(structured_output=False)
async def learn(name: str, ctx: Context[Any, Any]) -> str:
    """Have one more tool from now on."""

    def taught() -> str:
        """Say so."""
        return "taught"

    server.add_tool(taught, name=name, title=f"Taught {name}")
    await ctx.session.send_tool_list_changed()
    await ctx.notify_tools_changed()
    return "learnt"


@server.custom_route("/ready", methods=["GET"])
async def ready(request: Request) -> Response:
    return PlainTextResponse("ready")


def main() -> None:
    match sys.argv[1:]:
        case ["stdio"] if os.environ.get("HANDSHAKE"):
            anyio.run(serve_with_handshake)
        case ["stdio"]:
            server.run("stdio")
        case ["http", port]:
            app = server.streamable_http_app(json_response=bool(os.environ.get("JSON")))
            if token := os.environ.get("TOKEN"):
                app = guarded(app, token)
            uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
        case _:
            sys.exit("stdio, or http PORT")


async def serve_with_handshake() -> None:
    """As servers did before 2026; the package has no public way to insist on it."""
    lowlevel = server._lowlevel_server
    async with stdio_server() as (read, write), lowlevel.lifespan(lowlevel) as state:
        await serve_loop(lowlevel, read, write, lifespan_state=state)


def guarded(app: Any, token: str) -> Any:
    """The server, for those who show the token."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and scope["path"] == "/mcp":
            note("asked")
            if headers.get(b"authorization") != f"Bearer {token}".encode():
                await PlainTextResponse("who are you?", 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return guard


if __name__ == "__main__":
    main()
