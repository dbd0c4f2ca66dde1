"""How a call gets on, as its server tells it and its user sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from bobbin_gateway.markdown import as_text
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.mcp.names import one_line

MAX_STEP = 200
PAUSE_S = 0.1
"""Between two states that are shown: nobody reads faster."""


class OnProgress(Protocol):
    """Told how far a call is: how much of what total, in words."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


@asynccontextmanager
async def shown_progress(context: ToolContext) -> AsyncGenerator[OnProgress]:
    """Show in the call's step what the callback is given.

    The callback never waits, and only the newest state is kept: a server may tell as much as it likes, a slow
    reader gets less of it.
    """
    newest = ""
    news = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        nonlocal newest
        newest = _state(progress, total, message)
        news.set()

    async def show() -> None:
        shown = ""
        while True:
            await news.wait()
            news.clear()
            if newest != shown:
                shown = newest
                await context.step(shown)
                await asyncio.sleep(PAUSE_S)

    showing = asyncio.create_task(show(), name="MCP progress")
    try:
        yield on_progress
    finally:
        showing.cancel()
        await asyncio.wait([showing])
    if not showing.cancelled():
        showing.result()  # it ends by itself only if it failed


def _state(progress: float, total: float | None, message: str | None) -> str:
    """Markdown: the message, and how much is done if that is known."""
    share = f"{progress / total:.0%}" if total and 0 <= progress <= total else ""
    words = as_text(one_line(message or "", MAX_STEP))
    if words and share:
        return f"{words} ({share})"
    return words or share or f"{progress:g}"
