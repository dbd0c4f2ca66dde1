"""The gateway's way to the thread store: one method per call of its HTTP API."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast
from urllib.parse import quote

import msgspec

from bobbin_gateway.store_transport import (
    StoreRefused,
    StoreTransport,
    StoreUnavailable,
    measured,
    open_transport,
)
from bobbin_protocol.attachments import Attachment
from bobbin_protocol.items import StoredItem
from bobbin_protocol.pages import Page
from bobbin_protocol.store.blobs import BlobsToRemove, SweepBlobs
from bobbin_protocol.store.feedback import NewFeedback
from bobbin_protocol.store.gateways import ClaimedTurns, ClaimTurns, LeaseRenewed, RenewLease
from bobbin_protocol.store.journal import JournalWritten, WriteJournal
from bobbin_protocol.store.threads import ItemPage, ThreadChange, ThreadWithItems
from bobbin_protocol.store.turns import (
    AddTurnItems,
    BeginAnswer,
    BeginTurn,
    CancelTurn,
    DesertTurn,
    FinishTurn,
    JoinTurn,
    TurnFinished,
    TurnRecord,
    TurnResult,
)
from bobbin_protocol.store.watch import Watch, Watched
from bobbin_protocol.threads import ThreadMetadata

Order = Literal["asc", "desc"]

__all__ = ["Order", "Store", "StoreRefused", "StoreUnavailable", "open_store"]


class Store:
    """A client for one store: calls in the name of one owner, and the process's own, for turns of many.

    Those that are vital have connections to themselves: whatever users do, the lease is renewed and the
    journal written.
    """

    def __init__(self, transport: StoreTransport) -> None:
        self._call = transport.call

    @measured
    async def begin_turn(self, owner_id: str, begin: BeginTurn) -> BeginAnswer:
        """Open a turn, or find the one that the request has opened before; safe to repeat."""
        return await self._call(_BEGIN_ANSWER, owner_id, "POST", "/v1/turns", begin)

    @measured
    async def finish_turn(self, owner_id: str, turn_id: str, finish: FinishTurn) -> TurnFinished:
        """Store a turn's outcome; safe to repeat."""
        return await self._call(_TURN_FINISHED, owner_id, "POST", _path("turns", turn_id, "finish"), finish)

    @measured
    async def add_turn_items(self, owner_id: str, turn_id: str, items: AddTurnItems) -> None:
        """Store items of a turn before its end; safe to repeat."""
        await self._call(_NOTHING, owner_id, "POST", _path("turns", turn_id, "items"), items)

    @measured
    async def get_turn(self, owner_id: str, turn_id: str) -> TurnRecord:
        """How a turn stands."""
        return await self._call(_TURN, owner_id, "GET", _path("turns", turn_id))

    @measured
    async def turn_result(self, owner_id: str, turn_id: str) -> TurnResult:
        """What became of a turn, in its final form."""
        return await self._call(_TURN_RESULT, owner_id, "GET", _path("turns", turn_id, "items"))

    @measured
    async def cancel_turn(self, owner_id: str, turn_id: str, *, only_if_deserted: bool = False) -> TurnRecord:
        """Ask whoever runs the turn to stop it; safe to repeat."""
        wanted = CancelTurn(only_if_deserted=only_if_deserted)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "cancel"), wanted)

    @measured
    async def desert_turn(self, owner_id: str, turn_id: str, reader_id: str | None) -> TurnRecord:
        """Note that a turn has lost its last reader, unless someone has joined it since this one did."""
        wanted = DesertTurn(reader_id=reader_id)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "desert"), wanted)

    @measured
    async def join_turn(self, owner_id: str, turn_id: str, reader_id: str) -> TurnRecord:
        """Note that someone reads a turn; safe to repeat."""
        wanted = JoinTurn(reader_id=reader_id)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "join"), wanted)

    @measured
    async def renew_lease(self, gateway_id: str, wanted: RenewLease) -> LeaseRenewed:
        """Register this process, or renew its lease."""
        return await self._call(_LEASE, None, "PUT", _path("gateways", gateway_id), wanted, vital=True)

    @measured
    async def claim_turns(self, gateway_id: str, wanted: ClaimTurns) -> ClaimedTurns:
        """Take over turns of processes that died."""
        path = _path("gateways", gateway_id, "claims")
        return await self._call(_CLAIMED, None, "POST", path, wanted, vital=True)

    @measured
    async def write_journal(self, gateway_id: str, wanted: WriteJournal) -> JournalWritten:
        """Add to the journal of many turns; safe to repeat."""
        path = _path("gateways", gateway_id, "journal")
        return await self._call(_WRITTEN, None, "POST", path, wanted, vital=True)

    @measured
    async def watch(self, wanted: Watch) -> Watched:
        """What happened to many turns and in many threads."""
        return await self._call(_WATCHED, None, "POST", "/v1/watch", wanted)

    @measured
    async def get_thread(self, owner_id: str, thread_id: str) -> ThreadWithItems:
        """A thread and its oldest visible items."""
        return await self._call(_THREAD_WITH_ITEMS, owner_id, "GET", _path("threads", thread_id))

    @measured
    async def list_threads(
        self, owner_id: str, limit: int | None, order: Order, after: str | None
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads."""
        return await self._call(
            _THREADS, owner_id, "GET", "/v1/threads", query=_page_query(limit, order, after)
        )

    @measured
    async def change_thread(self, owner_id: str, thread_id: str, change: ThreadChange) -> ThreadMetadata:
        """Rename a thread, or set its status or metadata."""
        return await self._call(_THREAD, owner_id, "PATCH", _path("threads", thread_id), change)

    @measured
    async def delete_thread(self, owner_id: str, thread_id: str) -> None:
        """Remove a thread and all that is in it."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("threads", thread_id))

    @measured
    async def list_items(
        self, owner_id: str, thread_id: str, limit: int | None, order: Order, after: str | None
    ) -> ItemPage:
        """A page of a thread's visible items."""
        query = _page_query(limit, order, after)
        return await self._call(_ITEMS, owner_id, "GET", _path("threads", thread_id, "items"), query=query)

    @measured
    async def get_item(self, owner_id: str, thread_id: str, item_id: str) -> StoredItem:
        """One item, hidden or not."""
        return await self._call(_ITEM, owner_id, "GET", _path("threads", thread_id, "items", item_id))

    @measured
    async def put_item(self, owner_id: str, thread_id: str, item_id: str, item: StoredItem) -> None:
        """Put an item in the place of the one with its id, or behind all others; safe to repeat."""
        await self._call(_NOTHING, owner_id, "PUT", _path("threads", thread_id, "items", item_id), item)

    @measured
    async def add_feedback(self, owner_id: str, thread_id: str, feedback: NewFeedback) -> None:
        """Remember an opinion on items."""
        await self._call(_NOTHING, owner_id, "POST", _path("threads", thread_id, "feedback"), feedback)

    @measured
    async def create_attachment(self, owner_id: str, attachment: Attachment) -> Attachment:
        """Remember an attachment."""
        return await self._call(_ATTACHMENT, owner_id, "POST", "/v1/attachments", attachment)

    @measured
    async def get_attachment(self, owner_id: str, attachment_id: str) -> Attachment:
        """What is known of an attachment."""
        return await self._call(_ATTACHMENT, owner_id, "GET", _path("attachments", attachment_id))

    @measured
    async def complete_attachment(self, owner_id: str, attachment_id: str) -> Attachment:
        """Note that an attachment's bytes have come; safe to repeat."""
        path = _path("attachments", attachment_id, "complete")
        return await self._call(_ATTACHMENT, owner_id, "POST", path)

    @measured
    async def delete_attachment(self, owner_id: str, attachment_id: str) -> None:
        """Forget an attachment."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("attachments", attachment_id))

    @measured
    async def sweep_blobs(self, wanted: SweepBlobs) -> BlobsToRemove:
        """Confirm which blobs are gone, and learn which are to go."""
        return await self._call(_BLOBS, None, "POST", "/v1/blobs/sweep", wanted)


@asynccontextmanager
async def open_store(url: str, token: str, timeout_s: float) -> AsyncGenerator[Store]:
    """A store client whose connections live as long as the block."""
    async with open_transport(url, token, timeout_s) as transport:
        yield Store(transport)


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _page_query(limit: int | None, order: Order, after: str | None) -> dict[str, str]:
    query: dict[str, str] = {"order": order}
    if limit is not None:
        query["limit"] = str(limit)
    if after is not None:
        query["after"] = after
    return query


_BEGIN_ANSWER = msgspec.msgpack.Decoder(cast("type[BeginAnswer]", BeginAnswer))
_TURN = msgspec.msgpack.Decoder(TurnRecord)
_TURN_RESULT = msgspec.msgpack.Decoder(TurnResult)
_LEASE = msgspec.msgpack.Decoder(LeaseRenewed)
_CLAIMED = msgspec.msgpack.Decoder(ClaimedTurns)
_WRITTEN = msgspec.msgpack.Decoder(JournalWritten)
_WATCHED = msgspec.msgpack.Decoder(Watched)
_TURN_FINISHED = msgspec.msgpack.Decoder(TurnFinished)
_THREAD_WITH_ITEMS = msgspec.msgpack.Decoder(ThreadWithItems)
_THREADS = msgspec.msgpack.Decoder(Page[ThreadMetadata])
_THREAD = msgspec.msgpack.Decoder(ThreadMetadata)
_ITEMS = msgspec.msgpack.Decoder(ItemPage)
_ITEM = msgspec.msgpack.Decoder(StoredItem)
_ATTACHMENT = msgspec.msgpack.Decoder(cast("type[Attachment]", Attachment))
_BLOBS = msgspec.msgpack.Decoder(BlobsToRemove)
_NOTHING = msgspec.msgpack.Decoder(Any)
