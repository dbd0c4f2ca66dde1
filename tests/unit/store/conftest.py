"""The store's application on a real PostgreSQL, spoken to over its HTTP API in both formats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from litestar import Litestar

from bobbin_store.app import create_app
from bobbin_store.settings import Settings
from tests.postgres import PARTITIONS, database_url, empty_database_url, postgres, server_dsn

__all__ = ["database_url", "empty_database_url", "postgres", "server_dsn"]

TOKEN = "a-service-token-for-tests"
FORMATS = {
    "json": ("application/json", msgspec.json.encode, msgspec.json.decode),
    "msgpack": ("application/msgpack", msgspec.msgpack.encode, msgspec.msgpack.decode),
}


class Answer(NamedTuple):
    status: int
    body: Any
    headers: httpx.Headers


class Store:
    """A caller of the store, in one owner's name and one format."""

    def __init__(self, http: httpx.AsyncClient, owner: str, format_name: str) -> None:
        self.http = http
        self.owner = owner
        self.format = format_name

    def of(self, owner: str) -> Store:
        """The same store in another owner's name."""
        return Store(self.http, owner, self.format)

    @property
    def headers(self) -> dict[str, str]:
        media_type = FORMATS[self.format][0]
        return {
            "Authorization": f"Bearer {TOKEN}",
            "Bobbin-Owner": self.owner,
            "Content-Type": media_type,
            "Accept": media_type,
        }

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One request; times in the answer are strings in either format."""
        media_type, encode, decode = FORMATS[self.format]
        response = await self.http.request(
            method,
            f"/v1{path}",
            params=query or None,  # none at all keeps those in the path
            content=None if body is None else encode(body),
            headers=self.headers,
        )
        answered = response.headers.get("content-type", "")
        if answered == media_type:
            value = msgspec.to_builtins(decode(response.content))
        else:
            value = response.json() if "json" in answered else response.content
        return Answer(response.status_code, value, response.headers)

    async def get(self, path: str, **query: Any) -> Any:
        return self._good(await self.call("GET", path, **query))

    async def post(self, path: str, body: Any) -> Any:
        return self._good(await self.call("POST", path, body))

    async def put(self, path: str, body: Any) -> Any:
        return self._good(await self.call("PUT", path, body))

    async def patch(self, path: str, body: Any) -> Any:
        return self._good(await self.call("PATCH", path, body))

    async def delete(self, path: str, **query: Any) -> Any:
        return self._good(await self.call("DELETE", path, **query))

    async def thread(self, thread_id: str, **fields: Any) -> Any:
        """A new thread."""
        return await self.post("/threads", {"id": thread_id, **fields})

    async def items(self, thread_id: str, *item_ids: str) -> None:
        """New items, in this order."""
        for item_id in item_ids:
            await self.post(f"/threads/{thread_id}/items", assistant_message(item_id, thread_id))

    async def item_ids(self, thread_id: str) -> list[str]:
        """All items of a thread, hidden ones too, oldest first."""
        page = await self.get(f"/threads/{thread_id}/items", order="asc", limit=100, hidden=True)
        return [item["id"] for item in page["data"]]

    @staticmethod
    def _good(answer: Answer) -> Any:
        assert answer.status < 300, answer
        return answer.body


@asynccontextmanager
async def running_app(dsn: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of an application of its own."""
    own = Settings(store_token=TOKEN, database_url=dsn, **settings)
    app = _unused.pop() if _unused else create_app(own)
    app.state.settings = own
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://store") as http:
        yield http
    _unused.append(app)


_unused: list[Litestar] = []
"""Applications that have stopped and can be started again: to compose one takes longer than most tests."""


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Start and stop an application as a server does: in a task of its own."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
    task = asyncio.create_task(app(scope, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    yield
    await told.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await task


FORMATS_HERE = ["msgpack"] if PARTITIONS else list(FORMATS)
"""On partitions one is enough, that of the gateways: how rows lie has nothing to do with how answers look."""


@pytest.fixture(params=FORMATS_HERE)
async def store(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Store]:
    """The store on an empty database, in both formats."""
    async with running_app(database_url) as http:
        yield Store(http, "alice", request.param)


CREATED_AT = "2026-01-02T03:04:05Z"


def assistant_message(item_id: str, thread_id: str, text: str = "Good day.") -> dict[str, Any]:
    return {
        "type": "assistant_message",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "content": [{"type": "output_text", "annotations": [], "text": text}],
    }


def user_message(item_id: str, thread_id: str, text: str = "Hello") -> dict[str, Any]:
    return {
        "type": "user_message",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "content": [{"type": "input_text", "text": text}],
        "attachments": [],
        "inference_options": {},
    }


def hidden_context(item_id: str, thread_id: str) -> dict[str, Any]:
    return {
        "type": "sdk_hidden_context",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "content": "The user cancelled the stream.",
    }


def file_attachment(attachment_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "file", "id": attachment_id, "name": "a.txt", "mime_type": "text/plain", **fields}


OF_BEGINS = ("history_limit", "gateway_id", "if_running", "idempotency_key", "fingerprint", "resend_window_s")


def begin(turn_id: str, thread_id: str, kind: str = "create_thread", **fields: Any) -> dict[str, Any]:
    """The body of a begin with a message `m-<turn_id>`."""
    extra = {key: fields.pop(key) for key in OF_BEGINS if key in fields}
    message = user_message(f"m-{turn_id}", thread_id)
    return {
        "turn_id": turn_id,
        "thread_id": thread_id,
        "input": {"type": kind, "message": message, **fields},
        **extra,
    }


def retry(turn_id: str, thread_id: str, item_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "turn_id": turn_id,
        "thread_id": thread_id,
        "input": {"type": "retry_after_item", "item_id": item_id},
        **fields,
    }


def follow_up(turn_id: str, thread_id: str, kind: str, **fields: Any) -> dict[str, Any]:
    """The body of a begin that brings no message."""
    extra = {key: fields.pop(key) for key in OF_BEGINS if key in fields}
    return {"turn_id": turn_id, "thread_id": thread_id, "input": {"type": kind, **fields}, **extra}


def client_tool_call(item_id: str, thread_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "client_tool_call",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "status": "pending",
        "call_id": f"call-{item_id}",
        "name": "look",
        "arguments": {"where": "there"},
        **fields,
    }


def questions(item_id: str, thread_id: str, **fields: Any) -> dict[str, Any]:
    """Three questions: one choice, many choices, free words."""
    options = [{"value": "red"}, {"value": "blue"}]
    return {
        "type": "structured_input",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "status": "pending",
        "inputs": [
            {"type": "multiple_choice", "id": "one", "question": "Which?", "options": options},
            {"type": "multiple_choice", "id": "many", "question": "Which?", "options": options}
            | {"multiple": True},
            {"type": "freeform", "id": "free", "question": "Why?", "novelty": 1},
        ],
        **fields,
    }


def widget(item_id: str, thread_id: str) -> dict[str, Any]:
    return {
        "type": "widget",
        "id": item_id,
        "thread_id": thread_id,
        "created_at": CREATED_AT,
        "widget": {"type": "Card", "children": [{"type": "Text", "value": "Hello"}]},
    }
