"""Gateways and their leases: who runs a turn, and who takes over when it dies.

The lease is the gateway's, for all turns that it began or claimed. A gateway whose lease has lapsed may
renew it until another has declared it dead, which is for ever: it must let go of its turns and go on under a
new id. So the gateway's id is the fencing token of its writes.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bobbin_protocol.ids import Id
from bobbin_protocol.items import StoredItem
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.turns import TurnState
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import Wire, always


class TurnRef(Wire):
    """A turn, wherever its owner is needed too."""

    owner_id: str
    turn_id: Id


class RenewLease(Wire):
    """``PUT /v1/gateways/{gateway_id}``: register a gateway, or renew its lease."""

    lease_s: Annotated[float, Meta(gt=0, le=3600)]
    """Seconds from now."""
    released: list[TurnRef] = always(list)
    """Turns that this gateway gives up: the next claim gets them."""


class LeaseRenewed(Wire):
    """Whether the gateway holds its lease, and which of its turns it should stop."""

    alive: bool
    """False: it was declared dead; nothing was renewed."""
    stop: list[str] = always(list)
    """Cancelled or superseded turns."""


class ClaimTurns(Wire):
    """``POST /v1/gateways/{gateway_id}/claims``: take over the turns of gateways whose lease has lapsed.

    Those gateways are declared dead in the same transaction; released turns are taken over too. Only who has
    held its own lease without a gap for as long as one lasts gets any: after an outage everyone has had the
    time to renew by then.
    """

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    running: list[Id] | None = None
    """The turns that the gateway runs, or is just beginning. Any other one that is under its lease comes with
    the claimed: the answer to its begin, or to an earlier claim, was lost on the way. (A begin that went out
    later than this list may be among them.) None: do not look for such."""


class ClaimedTurn(Wire):
    """A turn that is under the claimer's lease from now on, and all that is known of it."""

    owner_id: str
    turn_id: str
    state: TurnState
    """``running``, or ``interrupted`` if it has been superseded."""
    thread: ThreadMetadata
    message: StoredItem | None
    """The message it answers, if it answers one, unless that has been removed."""
    brought_message: bool = False
    """Whether that message came with this turn; to answer a message again is another turn."""
    created_thread: bool = False
    """Whether the thread began with that message, and so with this turn."""
    subject: StoredItem | None = None
    """The questions whose answers began it, if answers did: its readers are told of them first."""
    cancel_requested: bool
    checkpoint: bytes | None
    journal: list[JournalChunk]
    """In order; empty if nothing was journalled."""


class ClaimedTurns(Wire):
    """The answer to a claim."""

    turns: list[ClaimedTurn] = always(list)
    more: bool = False
    """There may be more: claim again, with these among the running."""
