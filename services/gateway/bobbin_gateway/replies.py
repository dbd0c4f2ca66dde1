"""What an agent can say and show: events for its turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal

from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ClientEffectEvent,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadItemDoneEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.icons import IconName
from bobbin_protocol.items import AssistantMessageContent, AssistantMessageItem, WidgetItem
from bobbin_protocol.widgets import WidgetRoot


def message(turn: Turn, text: str) -> ThreadStreamEvent:
    """A message of the assistant as a whole; its text is Markdown."""
    return ThreadItemDoneEvent(
        item=AssistantMessageItem(
            id=turn.new_id("message"),
            thread_id=turn.thread.id,
            created_at=datetime.now(UTC),
            content=[AssistantMessageContent(text=text)],
        )
    )


def progress(text: str, icon: IconName | None = None) -> ThreadStreamEvent:
    """A passing line of what goes on; it is not kept."""
    return ProgressUpdateEvent(text=text, icon=icon)


def notice(
    message: str, *, level: Literal["info", "warning", "danger"] = "info", title: str | None = None
) -> ThreadStreamEvent:
    """A notice (Markdown); it is not kept."""
    return NoticeEvent(level=level, message=message, title=title)


def effect(name: str, **data: Any) -> ThreadStreamEvent:
    """Something for the page around the chat to do; it is not kept."""
    return ClientEffectEvent(name=name, data=data)


async def widget(
    turn: Turn, widget: WidgetRoot | AsyncIterator[WidgetRoot], *, copy_text: str | None = None
) -> AsyncIterator[ThreadStreamEvent]:
    """A widget, or one that changes: each state as a whole, the differences are sent."""
    if isinstance(widget, AsyncIterator):
        raise TypeError("widgets that change are not built yet")
    item = WidgetItem(
        id=turn.new_id("message"),
        thread_id=turn.thread.id,
        created_at=datetime.now(UTC),
        widget=widget,
        copy_text=copy_text,
    )
    yield ThreadItemDoneEvent(item=item)
