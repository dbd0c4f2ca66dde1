"""Watching: what happened to turns and threads since a gateway last asked; one call for all its readers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bobbin_protocol.ids import Id
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.turns import TurnState
from bobbin_protocol.wire import Wire, always


class WatchedTurn(Wire):
    """A turn that runs elsewhere, and how far its reader is."""

    owner_id: str
    turn_id: Id
    after: Annotated[int, Meta(ge=0)] = 0
    """The last event of a chunk that the reader has, or 0: a chunk comes as a whole, if it begins later."""


class WatchedChanges(Wire):
    """The changes of one owner, or of one of their threads."""

    owner_id: str
    thread_id: Id | None = None
    after: str | None = None
    """The position of the last answer. None: begin now, with the turns that run as the first changes."""


class Watch(Wire):
    """``POST /v1/watch``: answered at once, in the order asked."""

    turns: list[WatchedTurn] = always(list)
    changes: list[WatchedChanges] = always(list)


class TurnProgress(Wire):
    """How a turn stands."""

    state: TurnState | None
    """None: there is no such turn."""
    event_count: int | None = None
    """How many events the turn had in all; None until it has ended."""
    journal: list[JournalChunk] = always(list)
    """Chunks behind `after`, in order. Those of a turn that ended may be missing: they were never written, or
    have expired."""
    more: bool = False
    """There was no room for all chunks: ask again, after the last of these."""


class Change(Wire):
    """Something that happened in a thread: a turn began, or an event that is no turn's."""

    thread_id: str
    turn_id: str | None = None
    position: str
    """To be given as `after` by a reader that has got as far as this."""
    event: bytes | None = None
    """JSON of a ChatKit event, or of a `bobbin_protocol.feed.ThreadDeletedEvent`."""


class Changes(Wire):
    """What changed since, in the order of commits."""

    position: str
    """To be given as `after` next time."""
    expired: bool = False
    """Changes after the position asked for have been removed: the reader must load again what it shows, and
    begins now, with the turns that run."""
    changes: list[Change] = always(list)


class Watched(Wire):
    """The answers to a watch, in the order asked."""

    turns: list[TurnProgress] = always(list)
    changes: list[Changes] = always(list)
