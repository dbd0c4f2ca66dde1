"""The gateway's way to the thread store: one method per call of its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from time import monotonic
from typing import Any, Literal, ParamSpec, TypeVar, cast
from urllib.parse import quote

import aiohttp
import msgspec

from bobbin_gateway.metrics import STORE_CALL_SECONDS
from bobbin_protocol.attachments import Attachment
from bobbin_protocol.items import StoredItem
from bobbin_protocol.pages import Page
from bobbin_protocol.problem import Problem
from bobbin_protocol.store import MSGPACK, OWNER_HEADER
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
from bobbin_protocol.wire import encode_json
from bobbin_telemetry import tracing
from bobbin_telemetry.requests import REQUEST_ID_HEADER, current_request_id

T = TypeVar("T")
P = ParamSpec("P")
Order = Literal["asc", "desc"]

_encode = msgspec.msgpack.Encoder().encode


class StoreRefused(Exception):
    """The store understood the call and said no; the problem is fit for the caller's eyes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class StoreUnavailable(Exception):
    """The store, or its database, cannot be reached or did not answer in time; worth another try."""


def _measured(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A call whose time and outcome are written down under its name."""

    @wraps(call)
    async def measured(*args: P.args, **options: P.kwargs) -> T:
        began, outcome = monotonic(), "cancelled"
        try:
            answer = await call(*args, **options)
            outcome = "ok"
        except StoreRefused:
            outcome = "refused"
            raise
        except StoreUnavailable:
            outcome = "unavailable"
            raise
        finally:
            STORE_CALL_SECONDS.labels(call.__name__, outcome).observe(monotonic() - began)
        return answer

    return measured


class Store:
    """A client for one store: calls in the name of one owner, and the process's own, for turns of many.

    Those that are vital have connections to themselves: whatever users do, the lease is renewed and the
    journal written.
    """

    def __init__(self, session: aiohttp.ClientSession, vital: aiohttp.ClientSession) -> None:
        self._session = session
        self._vital = vital

    @_measured
    async def begin_turn(self, owner_id: str, begin: BeginTurn) -> BeginAnswer:
        """Open a turn, or find the one that the request has opened before; safe to repeat."""
        return await self._call(_BEGIN_ANSWER, owner_id, "POST", "/v1/turns", begin)

    @_measured
    async def finish_turn(self, owner_id: str, turn_id: str, finish: FinishTurn) -> TurnFinished:
        """Store a turn's outcome; safe to repeat."""
        return await self._call(_TURN_FINISHED, owner_id, "POST", _path("turns", turn_id, "finish"), finish)

    @_measured
    async def add_turn_items(self, owner_id: str, turn_id: str, items: AddTurnItems) -> None:
        """Store items of a turn before its end; safe to repeat."""
        await self._call(_NOTHING, owner_id, "POST", _path("turns", turn_id, "items"), items)

    @_measured
    async def get_turn(self, owner_id: str, turn_id: str) -> TurnRecord:
        """How a turn stands."""
        return await self._call(_TURN, owner_id, "GET", _path("turns", turn_id))

    @_measured
    async def turn_result(self, owner_id: str, turn_id: str) -> TurnResult:
        """What became of a turn, in its final form."""
        return await self._call(_TURN_RESULT, owner_id, "GET", _path("turns", turn_id, "items"))

    @_measured
    async def cancel_turn(self, owner_id: str, turn_id: str, *, only_if_deserted: bool = False) -> TurnRecord:
        """Ask whoever runs the turn to stop it; safe to repeat."""
        wanted = CancelTurn(only_if_deserted=only_if_deserted)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "cancel"), wanted)

    @_measured
    async def desert_turn(self, owner_id: str, turn_id: str, reader_id: str | None) -> TurnRecord:
        """Note that a turn has lost its last reader, unless someone has joined it since this one did."""
        wanted = DesertTurn(reader_id=reader_id)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "desert"), wanted)

    @_measured
    async def join_turn(self, owner_id: str, turn_id: str, reader_id: str) -> TurnRecord:
        """Note that someone reads a turn; safe to repeat."""
        wanted = JoinTurn(reader_id=reader_id)
        return await self._call(_TURN, owner_id, "POST", _path("turns", turn_id, "join"), wanted)

    @_measured
    async def renew_lease(self, gateway_id: str, wanted: RenewLease) -> LeaseRenewed:
        """Register this process, or renew its lease."""
        return await self._call(_LEASE, None, "PUT", _path("gateways", gateway_id), wanted, vital=True)

    @_measured
    async def claim_turns(self, gateway_id: str, wanted: ClaimTurns) -> ClaimedTurns:
        """Take over turns of processes that died."""
        path = _path("gateways", gateway_id, "claims")
        return await self._call(_CLAIMED, None, "POST", path, wanted, vital=True)

    @_measured
    async def write_journal(self, gateway_id: str, wanted: WriteJournal) -> JournalWritten:
        """Add to the journal of many turns; safe to repeat."""
        path = _path("gateways", gateway_id, "journal")
        return await self._call(_WRITTEN, None, "POST", path, wanted, vital=True)

    @_measured
    async def watch(self, wanted: Watch) -> Watched:
        """What happened to many turns and in many threads."""
        return await self._call(_WATCHED, None, "POST", "/v1/watch", wanted)

    @_measured
    async def get_thread(self, owner_id: str, thread_id: str) -> ThreadWithItems:
        """A thread and its oldest visible items."""
        return await self._call(_THREAD_WITH_ITEMS, owner_id, "GET", _path("threads", thread_id))

    @_measured
    async def list_threads(
        self, owner_id: str, limit: int | None, order: Order, after: str | None
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads."""
        return await self._call(
            _THREADS, owner_id, "GET", "/v1/threads", query=_page_query(limit, order, after)
        )

    @_measured
    async def change_thread(self, owner_id: str, thread_id: str, change: ThreadChange) -> ThreadMetadata:
        """Rename a thread, or set its status or metadata."""
        return await self._call(_THREAD, owner_id, "PATCH", _path("threads", thread_id), change)

    @_measured
    async def delete_thread(self, owner_id: str, thread_id: str) -> None:
        """Remove a thread and all that is in it."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("threads", thread_id))

    @_measured
    async def list_items(
        self, owner_id: str, thread_id: str, limit: int | None, order: Order, after: str | None
    ) -> ItemPage:
        """A page of a thread's visible items."""
        query = _page_query(limit, order, after)
        return await self._call(_ITEMS, owner_id, "GET", _path("threads", thread_id, "items"), query=query)

    @_measured
    async def get_item(self, owner_id: str, thread_id: str, item_id: str) -> StoredItem:
        """One item, hidden or not."""
        return await self._call(_ITEM, owner_id, "GET", _path("threads", thread_id, "items", item_id))

    @_measured
    async def put_item(self, owner_id: str, thread_id: str, item_id: str, item: StoredItem) -> None:
        """Put an item in the place of the one with its id, or behind all others; safe to repeat."""
        await self._call(_NOTHING, owner_id, "PUT", _path("threads", thread_id, "items", item_id), item)

    @_measured
    async def add_feedback(self, owner_id: str, thread_id: str, feedback: NewFeedback) -> None:
        """Remember an opinion on items."""
        await self._call(_NOTHING, owner_id, "POST", _path("threads", thread_id, "feedback"), feedback)

    @_measured
    async def create_attachment(self, owner_id: str, attachment: Attachment) -> Attachment:
        """Remember an attachment."""
        return await self._call(_ATTACHMENT, owner_id, "POST", "/v1/attachments", attachment)

    @_measured
    async def get_attachment(self, owner_id: str, attachment_id: str) -> Attachment:
        """What is known of an attachment."""
        return await self._call(_ATTACHMENT, owner_id, "GET", _path("attachments", attachment_id))

    @_measured
    async def complete_attachment(self, owner_id: str, attachment_id: str) -> Attachment:
        """Note that an attachment's bytes have come; safe to repeat."""
        path = _path("attachments", attachment_id, "complete")
        return await self._call(_ATTACHMENT, owner_id, "POST", path)

    @_measured
    async def delete_attachment(self, owner_id: str, attachment_id: str) -> None:
        """Forget an attachment."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("attachments", attachment_id))

    @_measured
    async def sweep_blobs(self, wanted: SweepBlobs) -> BlobsToRemove:
        """Confirm which blobs are gone, and learn which are to go."""
        return await self._call(_BLOBS, None, "POST", "/v1/blobs/sweep", wanted)

    async def _call(
        self,
        answer: msgspec.msgpack.Decoder[T],
        owner_id: str | None,
        method: str,
        path: str,
        body: msgspec.Struct | StoredItem | None = None,
        *,
        query: dict[str, str] | None = None,
        vital: bool = False,
    ) -> T:
        session = self._vital if vital else self._session
        with _span(method, path) as span:
            content, media_type, status = await self._exchange(session, method, path, owner_id, body, query)
            span.set({"http.response.status_code": status})
            if status < _FIRST_ERROR:
                try:
                    if content and media_type == _JSON:  # MessagePack could not hold it
                        return msgspec.json.decode(content, type=answer.type)
                    return answer.decode(content or _NIL)
                except msgspec.MsgspecError as error:  # a store of another version, or a proxy's own words
                    raise StoreUnavailable(f"{method} {path}: unreadable answer: {error}") from error
            raise _refusal(status, content, f"{method} {path}")

    @staticmethod
    async def _exchange(
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        owner_id: str | None,
        body: msgspec.Struct | StoredItem | None,
        query: dict[str, str] | None,
    ) -> tuple[bytes, str, int]:
        """Send a request; again if the store hung up on an idle connection: every call may be repeated."""
        headers = {} if owner_id is None else {OWNER_HEADER: owner_id}
        if request_id := current_request_id():
            headers[REQUEST_ID_HEADER] = request_id
        tracing.inject(headers)
        try:
            data = None if body is None else _encode(body)
        except OverflowError:  # MessagePack has no form for whole numbers above 64 bits
            data, headers["Content-Type"] = encode_json(body), _JSON

        async def send() -> tuple[bytes, str, int]:
            async with session.request(method, path, params=query, data=data, headers=headers) as response:
                return await response.read(), response.content_type, response.status

        try:
            try:
                return await send()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await send()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreUnavailable(f"{method} {path}: {error or type(error).__name__}") from error


def _refusal(status: int, content: bytes, call: str) -> Exception:
    try:
        problem = _PROBLEM.decode(content)
    except msgspec.MsgspecError:
        return StoreUnavailable(f"{call}: status {status} without a problem")
    if status in _OWN_FAULT:
        return StoreUnavailable(f"{call}: status {status}: {problem.detail}")
    return StoreRefused(problem)


@asynccontextmanager
async def open_store(url: str, token: str, timeout_s: float) -> AsyncGenerator[Store]:
    """A store client whose connections live as long as the block."""

    def session(most_connections: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": MSGPACK, "Accept": MSGPACK},
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S),
            connector=aiohttp.TCPConnector(
                limit=most_connections, keepalive_timeout=30, ttl_dns_cache=_ADDRESSES_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),  # the store asks for neither
        )

    async with session(_MOST_CONNECTIONS) as users, session(_MOST_VITAL_CONNECTIONS) as vital:
        yield Store(users, vital)
    await asyncio.sleep(0)  # aiohttp: lets the transports of closed connections go


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _span(method: str, path: str) -> tracing.Span:
    if not tracing.is_on():
        return tracing.NOTHING
    parts = path.split("/")
    parts[3::2] = ["{id}"] * len(parts[3::2])  # /v1/things/{id}/things/{id}
    route = "/".join(parts)
    attributes = {"http.request.method": method, "url.template": route}
    return tracing.span(f"{method} {route}", attributes, "client")


def _page_query(limit: int | None, order: Order, after: str | None) -> dict[str, str]:
    query: dict[str, str] = {"order": order}
    if limit is not None:
        query["limit"] = str(limit)
    if after is not None:
        query["after"] = after
    return query


_MOST_CONNECTIONS = 32
_MOST_VITAL_CONNECTIONS = 8
_CONNECT_S = 3
"""Longest wait for a connection: a machine that is gone says nothing at all."""
_ADDRESSES_S = 1
"""How long the store's addresses are good: less than it takes to replace one store after the other."""
_JSON = "application/json"
_FIRST_ERROR = 400
_OWN_FAULT = frozenset({401, 500, 502, 503, 504})
"""Answers that are no fault of the caller: a wrong service token is our own misconfiguration."""

_PROBLEM = msgspec.json.Decoder(Problem)
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
_NIL = b"\xc0"
_NOTHING = msgspec.msgpack.Decoder(Any)
