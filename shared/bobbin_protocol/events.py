"""Events: what a stream tells the client (reference: ``types.py``, "THREAD STREAM EVENT TYPES")."""

from typing import Any, Literal, TypeAlias

from bobbin_protocol.icons import IconName
from bobbin_protocol.items import ThreadItem
from bobbin_protocol.threads import Thread
from bobbin_protocol.updates import ThreadItemUpdate
from bobbin_protocol.wire import Wire, always


class ThreadCreatedEvent(Wire, tag="thread.created"):
    thread: Thread


class ThreadUpdatedEvent(Wire, tag="thread.updated"):
    thread: Thread


class ThreadItemAddedEvent(Wire, tag="thread.item.added"):
    """An item that is still being made: updates follow, then ``thread.item.done``."""

    item: ThreadItem


class ThreadItemUpdatedEvent(Wire, tag="thread.item.updated"):
    item_id: str
    update: ThreadItemUpdate


class ThreadItemDoneEvent(Wire, tag="thread.item.done"):
    """An item in its final form, whether it was added before or not."""

    item: ThreadItem


class ThreadItemRemovedEvent(Wire, tag="thread.item.removed"):
    item_id: str


class ThreadItemReplacedEvent(Wire, tag="thread.item.replaced"):
    """An item in the place of the one with the same id."""

    item: ThreadItem


class StreamOptions(Wire):
    allow_cancel: bool
    """Whether the client offers a stop button."""


class StreamOptionsEvent(Wire, tag="stream_options"):
    stream_options: StreamOptions


class ProgressUpdateEvent(Wire, tag="progress_update"):
    """A passing line of what goes on; it is not kept."""

    icon: IconName | None = None
    text: str


class ClientEffectEvent(Wire, tag="client_effect"):
    """Something for the page around the chat to do; it is not kept."""

    name: str
    data: dict[str, Any] = always(dict)


class ErrorEvent(Wire, tag="error"):
    code: Literal["custom", "stream.error"] = always("custom")
    """``stream.error``: the client shows its own words, in the user's language; ``custom``: the message."""
    message: str | None = None
    allow_retry: bool = always(default=False)


class NoticeEvent(Wire, tag="notice"):
    level: Literal["info", "warning", "danger"]
    message: str
    """Markdown."""
    title: str | None = None


ThreadStreamEvent: TypeAlias = (
    ThreadCreatedEvent
    | ThreadUpdatedEvent
    | ThreadItemDoneEvent
    | ThreadItemAddedEvent
    | ThreadItemUpdatedEvent
    | ThreadItemRemovedEvent
    | ThreadItemReplacedEvent
    | StreamOptionsEvent
    | ProgressUpdateEvent
    | ClientEffectEvent
    | ErrorEvent
    | NoticeEvent
)
