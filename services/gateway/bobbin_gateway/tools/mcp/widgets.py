"""Widgets that a server sends along with a result, for the user to see.

MCP leaves ``_meta`` of a result to those who agree on its names. Ours is ``bobbin/widgets``: a list of
objects with a ``widget`` (a ChatKit widget) and perhaps a ``copy_text``.
"""

from __future__ import annotations

import msgspec
import structlog
from mcp import types
from msgspec import Struct

from bobbin_gateway.tools.context import ToolContext
from bobbin_protocol.widgets import DynamicWidgetRoot

log = structlog.get_logger()

KEY = "bobbin/widgets"


class _SentWidget(Struct, frozen=True):
    widget: DynamicWidgetRoot
    copy_text: str | None = None


async def show_widgets(result: types.CallToolResult, context: ToolContext, server: str) -> None:
    """Show the widgets of a result. One that is none is left out: what the server did, it has done."""
    sent = (result.meta or {}).get(KEY)
    if sent is None:
        return
    try:
        for shown in msgspec.convert(sent, list[_SentWidget]):
            await context.widget(shown.widget, copy_text=shown.copy_text)
    except (msgspec.ValidationError, ValueError) as error:
        log.warning("MCP server sent what is no widget", server=server, reason=str(error))
