"""All data of one owner: ``GET /v1/owner/export`` and ``DELETE /v1/owner``."""

from __future__ import annotations

from typing import TypeAlias

from bobbin_protocol.attachments import Attachment
from bobbin_protocol.items import StoredItem
from bobbin_protocol.store.feedback import Feedback
from bobbin_protocol.store.turns import TurnRecord
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import Wire


class ExportedThread(Wire, tag_field="kind", tag="thread"):
    """A line of the export: a thread, followed by its items, turns and feedback."""

    thread: ThreadMetadata


class ExportedItem(Wire, tag_field="kind", tag="item"):
    """A line of the export: one item."""

    item: StoredItem


class ExportedTurn(Wire, tag_field="kind", tag="turn"):
    """A line of the export: one turn."""

    turn: TurnRecord


class ExportedFeedback(Wire, tag_field="kind", tag="feedback"):
    """A line of the export: one opinion."""

    feedback: Feedback


class ExportedAttachment(Wire, tag_field="kind", tag="attachment"):
    """A line of the export: one attachment's metadata."""

    attachment: Attachment


ExportLine: TypeAlias = ExportedThread | ExportedItem | ExportedTurn | ExportedFeedback | ExportedAttachment


class Erased(Wire):
    """How many rows of each kind are gone."""

    threads: int
    items: int
    turns: int
    attachments: int
    feedback: int
