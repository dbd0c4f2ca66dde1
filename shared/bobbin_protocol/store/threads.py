"""Threads as services read and write them: ``/v1/threads``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, UnsetType

from bobbin_protocol.ids import Id
from bobbin_protocol.items import StoredItem
from bobbin_protocol.pages import Page
from bobbin_protocol.requests import Title
from bobbin_protocol.threads import ThreadMetadata, ThreadStatus
from bobbin_protocol.wire import Wire, always


class NewThread(Wire):
    """``POST /v1/threads``. Without an id or a time the store gives its own."""

    id: Id | None = None
    title: Title | None = None
    created_at: datetime | None = None
    status: ThreadStatus | None = None
    allowed_image_domains: list[str] | None = None
    metadata: dict[str, Any] = always(dict)


class ThreadChange(Wire):
    """``PATCH /v1/threads/{thread_id}``: fields left out stay, a null title is removed."""

    title: Title | UnsetType | None = UNSET
    status: ThreadStatus | UnsetType = UNSET
    allowed_image_domains: list[str] | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class ItemPage(Page[StoredItem]):
    """``GET /v1/threads/{thread_id}/items``: a page of items, and the turn that runs there, if any."""

    running_turn_id: str | None = None


class ThreadWithItems(Wire):
    """``GET /v1/threads/{thread_id}``: the thread and the first page of its items, oldest first."""

    thread: ThreadMetadata
    items: ItemPage
