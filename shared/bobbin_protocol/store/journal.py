"""The journal: the events of turns that run now or ended a moment ago, as they were encoded.

Events are numbered from 1 within their turn. A chunk holds consecutive events as the SSE frames that clients
get (``data: {...}`` and a blank line each), without ids. Nothing in the store looks into them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bobbin_protocol.ids import Id
from bobbin_protocol.wire import Wire, always


class JournalChunk(Wire):
    """Events `first` to `last` of a turn. Without data it holds none, and `last` is one less than `first`."""

    first: Annotated[int, Meta(ge=1)]
    last: Annotated[int, Meta(ge=0)]
    data: bytes


class JournalEntry(Wire):
    """What a turn has to add. Chunks of a turn join up: each begins where the one before it ended."""

    owner_id: str
    turn_id: Id
    chunk: JournalChunk
    checkpoint: bytes | None = None
    """Where another gateway's agent would go on after these events; None: no change. With a chunk that holds
    no events it is taken unless the journal has later ones."""


class WriteJournal(Wire):
    """``POST /v1/gateways/{gateway_id}/journal``: what all turns of a gateway produced, in one transaction.

    Repeating it, with the same chunks, changes nothing.
    """

    entries: list[JournalEntry]


class JournalWritten(Wire):
    """The turns that are (still) under this gateway's lease; and those of them that it should stop.

    A turn that is in neither list has been taken over, or ended: its gateway must let go of it.
    """

    written: list[str] = always(list)
    stop: list[str] = always(list)
    """Cancelled or superseded; in `written` too."""
