"""What an agent can say and show, as events of its turn. ``docs/agents.md`` shows each of them at work.

What comes bit by bit (`stream_text`, `widget`) is an asynchronous generator of events, all else is one event.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict, cast

import msgspec

from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ClientEffectEvent,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.icons import IconName
from bobbin_protocol.ids import IdKind
from bobbin_protocol.items import (
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    EndOfTurnItem,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    StructuredInputItem,
    TaskItem,
    WidgetItem,
)
from bobbin_protocol.structured_input import StructuredInput
from bobbin_protocol.tasks import Task
from bobbin_protocol.updates import (
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    ThreadItemUpdate,
)
from bobbin_protocol.widgets import DynamicWidgetRoot, WidgetRoot, check_root, plain_widget
from bobbin_protocol.widgets.diff import diff_plain_widget


def message(turn: Turn, text: str) -> ThreadStreamEvent:
    """A message of the assistant as a whole; its text is Markdown."""
    content = [AssistantMessageContent(text=text)]
    return ThreadItemDoneEvent(item=AssistantMessageItem(**_new(turn, "message"), content=content))


async def stream_text(turn: Turn, pieces: AsyncIterator[str]) -> AsyncGenerator[ThreadStreamEvent]:
    """A message (Markdown) that is shown as it comes to be. Without any text there is no message.

    If the pieces end in an error, it passes through, and the message stays as far as it got.
    """
    item = AssistantMessageItem(**_new(turn, "message"), content=[])
    said: list[str] = []
    async with _closing(pieces):
        try:
            async for piece in pieces:
                if not piece:
                    continue
                if not said:
                    for event in _begun(item):
                        yield event
                said.append(piece)
                yield _updated(item.id, AssistantMessageContentPartTextDelta(content_index=0, delta=piece))
        except Exception:
            for event in _ended(item, said):
                yield event
            raise
    for event in _ended(item, said):
        yield event


def _begun(item: AssistantMessageItem) -> list[ThreadStreamEvent]:
    empty = AssistantMessageContentPartAdded(content_index=0, content=AssistantMessageContent(text=""))
    return [ThreadItemAddedEvent(item=item), _updated(item.id, empty)]


def _ended(item: AssistantMessageItem, said: list[str]) -> list[ThreadStreamEvent]:
    if not said:
        return []
    content = AssistantMessageContent(text="".join(said))
    done = AssistantMessageContentPartDone(content_index=0, content=content)
    whole = msgspec.structs.replace(item, content=[content])
    return [_updated(item.id, done), ThreadItemDoneEvent(item=whole)]


async def widget(
    turn: Turn, widget: WidgetRoot | AsyncIterator[WidgetRoot], *, copy_text: str | None = None
) -> AsyncGenerator[ThreadStreamEvent]:
    """A widget, or one that changes: each state as a whole, the differences are sent.

    Without any state there is no widget. If the states end in an error, it passes through, and the widget
    stays as it was.

    Args:
        turn: Whose widget it is.
        widget: The widget, or its states. Each is copied at once: it may be changed and given again.
        copy_text: What its copy button copies; None: it has none.

    Raises:
        ValueError: It is no widget.
    """
    if isinstance(widget, AsyncIterator):
        async with _closing(widget):
            async for event in _changing_widget(turn, widget, copy_text):
                yield event
    else:
        yield ThreadItemDoneEvent(item=_widget_item(turn, _checked(widget), copy_text))


async def _changing_widget(
    turn: Turn, states: AsyncIterator[WidgetRoot], copy_text: str | None
) -> AsyncGenerator[ThreadStreamEvent]:
    item: WidgetItem | None = None
    shown: DynamicWidgetRoot = {}
    try:
        async for state in states:
            after = _checked(state)
            if item is None:
                item = _widget_item(turn, after, copy_text)
                yield ThreadItemAddedEvent(item=item)
            else:
                for update in diff_plain_widget(shown, after):
                    yield _updated(item.id, update)
            shown = after
    except Exception:
        if item is not None:
            yield _shown_in(item, shown)
        raise
    if item is not None:
        yield _shown_in(item, shown)


def updated_widget(sender: WidgetItem, widget: WidgetRoot) -> ThreadStreamEvent:
    """Another widget in the place of one that was shown before, of this turn or an earlier one.

    Raises:
        ValueError: It is no widget.
    """
    return ThreadItemReplacedEvent(item=msgspec.structs.replace(sender, widget=_checked(widget)))


def questions(turn: Turn, inputs: Sequence[StructuredInput]) -> ThreadStreamEvent:
    """Questions to the user (`bobbin_gateway.questions` makes them). The answers begin a turn of their own.

    Raises:
        ValueError: There are none, or two have the same id.
    """
    if not inputs or len({question.id for question in inputs}) < len(inputs):
        raise ValueError("Expected questions with an id of their own each")
    return ThreadItemDoneEvent(item=StructuredInputItem(**_new(turn, "message"), inputs=list(inputs)))


def client_tool_call(
    turn: Turn, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
) -> ThreadStreamEvent:
    """A call of a function in the user's page. End the turn with it: the output begins the next one.

    Args:
        turn: Whose call it is.
        name: What the page knows the function by.
        arguments: JSON-like; None: there are none.
        call_id: What the model calls the call; None: one is made up.
    """
    call = ClientToolCallItem(
        **_new(turn, "tool_call"),
        call_id=call_id or turn.new_id("tool_call"),
        name=name,
        arguments=dict(arguments or {}),
    )
    return ThreadItemDoneEvent(item=call)


def image(turn: Turn, url: str) -> ThreadStreamEvent:
    """An image by a URL that the client can load, now and later (`Files.publish` gives one)."""
    made = GeneratedImage(id=turn.new_id("message"), url=url)
    return ThreadItemDoneEvent(item=GeneratedImageItem(**_new(turn, "message"), image=made))


def task(turn: Turn, task: Task) -> ThreadStreamEvent:
    """A task that stands by itself. Several of them, or one that takes a while, are `Steps`."""
    return ThreadItemDoneEvent(item=TaskItem(**_new(turn, "task"), task=task))


def hidden(turn: Turn, content: Any) -> ThreadStreamEvent:
    """Something (JSON-like) for later turns to know, in their history. It never reaches a client."""
    return ThreadItemDoneEvent(item=HiddenContextItem(**_new(turn, "message"), content=content))


def end_of_turn(turn: Turn) -> ThreadStreamEvent:
    """The end of an answer, where its items alone do not show that it is complete."""
    return ThreadItemDoneEvent(item=EndOfTurnItem(**_new(turn, "message")))


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


class _New(TypedDict):
    """What all items have."""

    id: str
    thread_id: str
    created_at: datetime


def _new(turn: Turn, kind: IdKind) -> _New:
    return {"id": turn.new_id(kind), "thread_id": turn.thread.id, "created_at": datetime.now(UTC)}


def _widget_item(turn: Turn, widget: DynamicWidgetRoot, copy_text: str | None) -> WidgetItem:
    return WidgetItem(**_new(turn, "message"), widget=widget, copy_text=copy_text)


def _checked(widget: WidgetRoot) -> DynamicWidgetRoot:
    """A copy, which its maker does not change any more."""
    plain = plain_widget(widget)
    check_root(plain)
    return plain


def _shown_in(item: WidgetItem, widget: DynamicWidgetRoot) -> ThreadStreamEvent:
    return ThreadItemDoneEvent(item=msgspec.structs.replace(item, widget=widget))


def _updated(item_id: str, update: ThreadItemUpdate) -> ThreadStreamEvent:
    return ThreadItemUpdatedEvent(item_id=item_id, update=update)


def _closing(source: AsyncIterator[Any]) -> AbstractAsyncContextManager[Any]:
    """Closes a generator, and with it what it holds, as soon as nobody wants to hear it to its end."""
    if isinstance(source, AsyncGenerator):
        return aclosing(cast("AsyncGenerator[Any]", source))
    return nullcontext()
