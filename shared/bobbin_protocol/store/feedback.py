"""Feedback on items: ``/v1/threads/{thread_id}/feedback``."""

from __future__ import annotations

from datetime import datetime

from bobbin_protocol.ids import Id
from bobbin_protocol.requests import FeedbackKind
from bobbin_protocol.wire import Wire


class NewFeedback(Wire):
    """``POST``: one opinion on each of these items; it replaces an earlier one. 404 for an unknown item."""

    item_ids: list[Id]
    kind: FeedbackKind


class Feedback(Wire):
    """``GET``: one opinion."""

    thread_id: str
    item_id: str
    kind: FeedbackKind
    created_at: datetime
