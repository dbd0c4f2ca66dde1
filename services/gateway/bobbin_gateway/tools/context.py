"""What a tool gets to know of the turn that it is called in, and what it can show the user meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Literal

from bobbin_gateway import replies
from bobbin_gateway.agent import Turn
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.icons import IconName
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.widgets import WidgetRoot


class ToolContext:
    """One call's view of its turn. What it shows is shown at once; a slow reader slows the tool down."""

    def __init__(
        self,
        turn: Turn,
        emit: Callable[[ThreadStreamEvent], Awaitable[None]],
        show_step: Callable[[str], Awaitable[None]],
    ) -> None:
        self.turn = turn
        self.ends_turn = False
        """Whether the model is not asked again after this call."""
        self._emit = emit
        self._show_step = show_step

    @property
    def owner_id(self) -> str:
        """Whose turn it is: the only one whose data the tool may touch."""
        return self.turn.owner_id

    @property
    def thread(self) -> ThreadMetadata:
        """The thread; changes of its title, status or metadata are stored and sent."""
        return self.turn.thread

    def end_turn(self) -> None:
        """Leave it at what the tools have shown: the model says nothing more in this turn."""
        self.ends_turn = True

    async def step(self, text: str) -> None:
        """Say (in Markdown) how the call stands, in its own step."""
        await self._show_step(text)

    async def progress(self, text: str, icon: IconName | None = None) -> None:
        """Show a passing line of what goes on."""
        await self._emit(replies.progress(text, icon))

    async def notice(
        self, message: str, *, level: Literal["info", "warning", "danger"] = "info", title: str | None = None
    ) -> None:
        """Show a notice (in Markdown)."""
        await self._emit(replies.notice(message, level=level, title=title))

    async def effect(self, name: str, **data: Any) -> None:
        """Have the page around the chat do something; nothing comes back."""
        await self._emit(replies.effect(name, **data))

    async def widget(
        self, widget: WidgetRoot | AsyncIterator[WidgetRoot], *, copy_text: str | None = None
    ) -> None:
        """Show a widget, or one that changes: each state as a whole, the differences are sent."""
        async with aclosing(replies.widget(self.turn, widget, copy_text=copy_text)) as events:
            async for event in events:
                await self._emit(event)

    async def emit(self, event: ThreadStreamEvent) -> None:
        """Show anything else."""
        await self._emit(event)
