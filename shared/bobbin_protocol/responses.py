"""Answers to JSON requests that are neither a thread, an item, an attachment nor a page of them."""

from bobbin_protocol.items import ThreadItem
from bobbin_protocol.wire import Wire


class TranscriptionResult(Wire):
    """Answer to ``input.transcribe``."""

    text: str


class SyncCustomActionResponse(Wire):
    """Answer to ``threads.sync_custom_action``."""

    updated_item: ThreadItem | None = None
