"""The gateway's way to the thread store: one method per call of its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from bobbin_protocol.items import StoredItem
from bobbin_protocol.pages import Page
from bobbin_protocol.problem import Problem
from bobbin_protocol.store import MSGPACK, OWNER_HEADER
from bobbin_protocol.store.feedback import NewFeedback
from bobbin_protocol.store.threads import ThreadChange, ThreadWithItems
from bobbin_protocol.store.turns import BeginTurn, FinishTurn, TurnBegun, TurnFinished
from bobbin_protocol.threads import ThreadMetadata

T = TypeVar("T")
Order = Literal["asc", "desc"]

_encode = msgspec.msgpack.Encoder().encode


class StoreRefused(Exception):
    """The store understood the call and said no; the problem is fit for the caller's eyes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class StoreUnavailable(Exception):
    """The store, or its database, cannot be reached or did not answer in time; worth another try."""


class Store:
    """A client for one store. Every call is made in the name of one owner."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def begin_turn(self, owner_id: str, begin: BeginTurn) -> TurnBegun:
        """Open a turn; safe to repeat."""
        return await self._call(_TURN_BEGUN, owner_id, "POST", "/v1/turns", begin)

    async def finish_turn(self, owner_id: str, turn_id: str, finish: FinishTurn) -> TurnFinished:
        """Store a turn's outcome; safe to repeat."""
        return await self._call(_TURN_FINISHED, owner_id, "POST", f"/v1/turns/{turn_id}/finish", finish)

    async def get_thread(self, owner_id: str, thread_id: str) -> ThreadWithItems:
        """A thread and its oldest visible items."""
        return await self._call(_THREAD_WITH_ITEMS, owner_id, "GET", _path("threads", thread_id))

    async def list_threads(
        self, owner_id: str, limit: int | None, order: Order, after: str | None
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads."""
        return await self._call(
            _THREADS, owner_id, "GET", "/v1/threads", query=_page_query(limit, order, after)
        )

    async def change_thread(self, owner_id: str, thread_id: str, change: ThreadChange) -> ThreadMetadata:
        """Rename a thread, or set its status or metadata."""
        return await self._call(_THREAD, owner_id, "PATCH", _path("threads", thread_id), change)

    async def delete_thread(self, owner_id: str, thread_id: str) -> None:
        """Remove a thread and all that is in it."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("threads", thread_id))

    async def list_items(
        self, owner_id: str, thread_id: str, limit: int | None, order: Order, after: str | None
    ) -> Page[StoredItem]:
        """A page of a thread's visible items."""
        query = _page_query(limit, order, after)
        return await self._call(_ITEMS, owner_id, "GET", _path("threads", thread_id, "items"), query=query)

    async def add_feedback(self, owner_id: str, thread_id: str, feedback: NewFeedback) -> None:
        """Remember an opinion on items."""
        await self._call(_NOTHING, owner_id, "POST", _path("threads", thread_id, "feedback"), feedback)

    async def delete_attachment(self, owner_id: str, attachment_id: str) -> None:
        """Forget an attachment."""
        await self._call(_NOTHING, owner_id, "DELETE", _path("attachments", attachment_id))

    async def is_ready(self) -> bool:
        """Whether the store says that it can serve."""
        try:
            async with self._session.get("/health/ready") as response:
                return response.status == _OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _call(
        self,
        answer: msgspec.msgpack.Decoder[T],
        owner_id: str,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        query: dict[str, str] | None = None,
    ) -> T:
        content, status = await self._exchange(method, path, owner_id, body, query)
        if status < _FIRST_ERROR:
            return answer.decode(content or _NIL)
        raise _refusal(status, content, f"{method} {path}")

    async def _exchange(
        self,
        method: str,
        path: str,
        owner_id: str,
        body: msgspec.Struct | None,
        query: dict[str, str] | None,
    ) -> tuple[bytes, int]:
        """Send a request; again if the store hung up on an idle connection: every call may be repeated."""
        data = None if body is None else _encode(body)

        async def send() -> tuple[bytes, int]:
            async with self._session.request(
                method, path, params=query, data=data, headers={OWNER_HEADER: owner_id}
            ) as response:
                return await response.read(), response.status

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
    async with aiohttp.ClientSession(
        base_url=url,
        headers={"Authorization": f"Bearer {token}", "Content-Type": MSGPACK, "Accept": MSGPACK},
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Store(session)
    await asyncio.sleep(0)  # aiohttp: lets the transports of closed connections go


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _page_query(limit: int | None, order: Order, after: str | None) -> dict[str, str]:
    query: dict[str, str] = {"order": order}
    if limit is not None:
        query["limit"] = str(limit)
    if after is not None:
        query["after"] = after
    return query


_OK = 200
_FIRST_ERROR = 400
_OWN_FAULT = frozenset({401, 500, 502, 503, 504})
"""Answers that are no fault of the caller: a wrong service token is our own misconfiguration."""

_PROBLEM = msgspec.json.Decoder(Problem)
_TURN_BEGUN = msgspec.msgpack.Decoder(TurnBegun)
_TURN_FINISHED = msgspec.msgpack.Decoder(TurnFinished)
_THREAD_WITH_ITEMS = msgspec.msgpack.Decoder(ThreadWithItems)
_THREADS = msgspec.msgpack.Decoder(Page[ThreadMetadata])
_THREAD = msgspec.msgpack.Decoder(ThreadMetadata)
_ITEMS = msgspec.msgpack.Decoder(Page[StoredItem])
_NIL = b"\xc0"
_NOTHING = msgspec.msgpack.Decoder(Any)
