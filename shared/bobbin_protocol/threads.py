"""Threads and their states (reference: ``types.py``, "THREAD TYPES")."""

from datetime import datetime
from typing import Any, TypeAlias

from bobbin_protocol.items import ThreadItem
from bobbin_protocol.pages import Page
from bobbin_protocol.wire import Wire, always, utc


class ActiveStatus(Wire, tag="active"):
    pass


class LockedStatus(Wire, tag="locked"):
    """No new messages for now; the reason stands in the composer."""

    reason: str | None = None


class ClosedStatus(Wire, tag="closed"):
    """No new messages any more; the reason stands in a banner."""

    reason: str | None = None


ThreadStatus: TypeAlias = ActiveStatus | LockedStatus | ClosedStatus


class ThreadMetadata(Wire):
    """A thread without its items."""

    title: str | None = None
    id: str
    created_at: datetime
    status: ThreadStatus = always(ActiveStatus)
    allowed_image_domains: list[str] | None = None
    """Hosts that images in Markdown may come from; any when absent."""
    metadata: dict[str, Any] = always(dict)
    """For the server side only: clients always get an empty object."""

    def __post_init__(self) -> None:
        self.created_at = utc(self.created_at)


class Thread(ThreadMetadata):
    """A thread with a page of its items."""

    items: Page[ThreadItem]


def thread_for_client(thread: ThreadMetadata) -> Thread:
    """Give the thread as an event shows it: no items, and no metadata, which is for the server side only."""
    return Thread(
        id=thread.id,
        title=thread.title,
        created_at=thread.created_at,
        status=thread.status,
        allowed_image_domains=thread.allowed_image_domains,
        items=Page(),
    )
