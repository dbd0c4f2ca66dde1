"""Live feeds: what happens in an owner's threads, as it happens.

Not part of ChatKit: no client of the reference asks for it. Each message of a feed is a `FeedMessage`.
"""

from __future__ import annotations

from typing import TypeAlias

from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.wire import Wire


class ThreadDeletedEvent(Wire, tag="thread.deleted"):
    """The thread and all that was in it are gone."""


class FeedResetEvent(Wire, tag="feed.reset"):
    """Something was missed that cannot be told any more: load again what is shown."""


FeedEvent: TypeAlias = ThreadStreamEvent | ThreadDeletedEvent | FeedResetEvent


class FeedMessage(Wire):
    """An event and where it happened."""

    thread_id: str | None = None
    """None with `FeedResetEvent` only."""
    turn_id: str | None = None
    """The turn that the event is of, if any."""
    event: FeedEvent
