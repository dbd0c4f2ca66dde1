"""Turns as tests see them: an answer that is read bit by bit, and what the store and the model know of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from httpx_sse import EventSource

from tests.client import Event, check_event, deltas_of, message, text_of, thread_id_of
from tests.cluster import Cluster
from tests.processes import Service
from tests.stack import STORE_TOKEN

Items = list[dict[str, Any]]


class Answer:
    """The answer to one streaming request; whoever leaves the block of `asking` leaves the connection."""

    def __init__(self, response: httpx.Response) -> None:
        self.turn_id = response.headers.get("chatkit-turn-id", "")
        self.events: list[Event] = []
        self._coming = EventSource(response).aiter_sse()

    async def read(self, *, deltas: int | None = None, events: int | None = None) -> Answer:
        """Read to the end, or until so many deltas or events are there."""
        while not self._has(deltas, events):
            try:
                sse = await anext(self._coming)
            except StopAsyncIteration:
                break
            event = json.loads(sse.data)
            check_event(event)
            self.events.append(event)
        return self

    def _has(self, deltas: int | None, events: int | None) -> bool:
        if events is not None:
            return len(self.events) >= events
        return deltas is not None and self.delta_count >= deltas

    @property
    def delta_count(self) -> int:
        return delta_count(self.events)

    @property
    def text(self) -> str:
        return deltas_of(self.events)

    @property
    def thread_id(self) -> str:
        return thread_id_of(self.events)


@asynccontextmanager
async def asking(http: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> AsyncIterator[Answer]:
    """Send a streaming request that must begin well."""
    content = json.dumps(body)
    all_headers = {"content-type": "application/json", **headers}
    async with http.stream("POST", "/chatkit", content=content, headers=all_headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Answer(response)


async def ask(http: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> Answer:
    """Send a streaming request and read its answer to the end."""
    async with asking(http, body, **headers) as answer:
        return await answer.read()


@asynccontextmanager
async def following(http: httpx.AsyncClient, turn_id: str) -> AsyncIterator[Answer]:
    """Read a turn from its first event on."""
    async with http.stream("GET", f"/chatkit/turns/{turn_id}/events") as response:
        assert response.status_code == 200, await response.aread()
        yield Answer(response)


def unique(text: str) -> str:
    """A message that can be told from those of other tests."""
    return f"{text} {uuid4().hex}"


def create(text: str, model: str) -> dict[str, Any]:
    """The request for a new thread."""
    return {"type": "threads.create", "params": {"input": message(text, model=model)}}


def add(thread_id: str, text: str, model: str) -> dict[str, Any]:
    """The request for another message."""
    params = {"thread_id": thread_id, "input": message(text, model=model)}
    return {"type": "threads.add_user_message", "params": params}


def retry(thread_id: str, item_id: str) -> dict[str, Any]:
    """The request for another answer."""
    return {"type": "threads.retry_after_item", "params": {"thread_id": thread_id, "item_id": item_id}}


def delta_count(events: list[Event]) -> int:
    """How many deltas of text there are."""
    updates = [event["update"] for event in events if event["type"] == "thread.item.updated"]
    return sum(update["type"] == "assistant_message.content_part.text_delta" for update in updates)


def said_by_user(items: Items) -> list[str]:
    """The texts of all user messages."""
    return [text_of(item) for item in items if item["type"] == "user_message"]


def kinds(items: Items) -> list[str]:
    """The types of items."""
    return [item["type"] for item in items]


def store_of(store: Service, owner: str = "local") -> httpx.AsyncClient:
    """The store's API in an owner's name."""
    headers = {"authorization": f"Bearer {STORE_TOKEN}", "bobbin-owner": owner}
    return httpx.AsyncClient(base_url=store.url, headers=headers, timeout=30)


async def stored(cluster: Cluster, thread_id: str, owner: str = "local") -> Items:
    """All items of a thread, hidden ones too, oldest first."""
    async with store_of(cluster.store, owner) as store:
        query = {"order": "asc", "hidden": "true", "limit": "100"}
        page = await store.get(f"/v1/threads/{thread_id}/items", params=query)
    return page.raise_for_status().json()["data"]


async def threads_with(cluster: Cluster, text: str, owner: str = "local") -> list[str]:
    """The threads among the latest hundred that begin with this message."""
    async with store_of(cluster.store, owner) as store:
        page = await store.get("/v1/threads", params={"limit": "100"})
        ids = [thread["id"] for thread in page.raise_for_status().json()["data"]]
    return [
        thread_id for thread_id in ids if said_by_user(await stored(cluster, thread_id, owner))[0] == text
    ]


async def turn(cluster: Cluster, turn_id: str, owner: str = "local") -> dict[str, Any]:
    """How a turn stands according to the store."""
    async with store_of(cluster.store, owner) as store:
        return (await store.get(f"/v1/turns/{turn_id}")).raise_for_status().json()


async def ended(
    cluster: Cluster, turn_id: str, *, within_s: float = 15, owner: str = "local"
) -> dict[str, Any]:
    """The same, once it has ended."""
    async with asyncio.timeout(within_s):
        while "ended_at" not in (record := await turn(cluster, turn_id, owner)):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
    return record


async def deserted(cluster: Cluster, turn_id: str) -> None:
    """Wait until the store knows that nobody reads a turn: a gateway has seen the last reader go."""
    assert cluster.database_url
    connection = await asyncpg.connect(cluster.database_url)
    try:
        async with asyncio.timeout(10):
            while not await connection.fetchval(_DESERTED, turn_id):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


_DESERTED = "SELECT deserted_at IS NOT NULL AND joined_by IS NULL FROM bobbin.turns WHERE id = $1"


async def journalled(cluster: Cluster, turn_id: str, events: int, owner: str = "local") -> None:
    """Wait until the journal has so many events of a turn: from then on every gateway shows them."""
    async with store_of(cluster.store, owner) as store, asyncio.timeout(15):
        last = 0
        while last < events:
            wanted = {"turns": [{"owner_id": owner, "turn_id": turn_id, "after": last}]}
            progress = (await store.post("/v1/watch", json=wanted)).raise_for_status().json()["turns"][0]
            last = max((chunk["last"] for chunk in progress["journal"]), default=last)
            await asyncio.sleep(0.01)


async def outcomes(cluster: Cluster, text: str) -> list[str]:
    """How the requests to the model that hold a text ended."""
    async with httpx.AsyncClient(base_url=cluster.model.url, timeout=30) as http:
        answer = await http.get("/requests", params={"contains": text})
    return [request["outcome"] for request in answer.json()["requests"]]


async def model_hung_up_on(cluster: Cluster, text: str, *, within_s: float = 15) -> None:
    """Wait until no request to the model that holds a text is open, and check that all were given up."""
    async with asyncio.timeout(within_s):
        while "open" in (seen := await outcomes(cluster, text)):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
    assert set(seen) <= {"disconnected"}, seen
