"""A ChatKit client for tests. Whatever it receives is checked against the reference's own types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from chatkit.types import (
    Attachment,
    Page,
    SyncCustomActionResponse,
    Thread,
    ThreadItem,
    ThreadStreamEvent,
)
from httpx_sse import EventSource
from pydantic import TypeAdapter

Event = dict[str, Any]

_EVENT = TypeAdapter[ThreadStreamEvent](ThreadStreamEvent)
_ATTACHMENT = TypeAdapter[Attachment](Attachment)
_ANSWERS: dict[str, TypeAdapter[Any]] = {
    "attachments.create": _ATTACHMENT,
    "threads.get_by_id": TypeAdapter(Thread),
    "threads.list": TypeAdapter(Page[Thread]),
    "threads.update": TypeAdapter(Thread),
    "items.list": TypeAdapter(Page[ThreadItem]),
    "threads.sync_custom_action": TypeAdapter(SyncCustomActionResponse),
}


class Client:
    """Speaks to one ChatKit endpoint, as one user."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str] | None = None) -> None:
        self.http = http
        self.headers = headers or {}

    async def post(self, body: bytes | str | dict[str, Any], **headers: str) -> httpx.Response:
        """One request, answered as a whole."""
        content = json.dumps(body) if isinstance(body, dict) else body
        return await self.http.post("/chatkit", content=content, headers={**_JSON, **self.headers, **headers})

    async def call(self, kind: str, /, **params: Any) -> Any:
        """A JSON request that must succeed."""
        response = await self.post({"type": kind, "params": params})
        assert response.status_code == 200, response.text
        answer = response.json()
        if kind in _ANSWERS:
            _ANSWERS[kind].validate_python(answer)
        _check_no_nulls(answer)
        return answer

    @asynccontextmanager
    async def stream(self, kind: str, /, **params: Any) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of a streaming request, as they come."""
        async with self.http.stream(
            "POST",
            "/chatkit",
            content=json.dumps({"type": kind, "params": params}),
            headers={**_JSON, **self.headers},
        ) as response:
            assert response.status_code == 200, await response.aread()
            yield _events(response)

    async def events(self, kind: str, /, **params: Any) -> list[Event]:
        """All events of a streaming request."""
        async with self.stream(kind, **params) as events:
            return [event async for event in events]

    async def create(self, text: str, **options: Any) -> list[Event]:
        """A new thread, from a message."""
        return await self.events("threads.create", input=message(text, **options))

    async def say(self, thread_id: str, text: str, **options: Any) -> list[Event]:
        """Another message."""
        return await self.events(
            "threads.add_user_message", thread_id=thread_id, input=message(text, **options)
        )


_JSON = {"content-type": "application/json"}


def message(
    text: str,
    *,
    model: str | None = None,
    quoted_text: str | None = None,
    attachments: Sequence[str] = (),
) -> dict[str, Any]:
    """The input of a user message."""
    return {
        "content": [{"type": "input_text", "text": text}],
        "attachments": list(attachments),
        "inference_options": {"model": model} if model else {},
        **({"quoted_text": quoted_text} if quoted_text else {}),
    }


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    async for sse in EventSource(response).aiter_sse():
        event = json.loads(sse.data)
        check_event(event)
        yield event


def check_attachment(attachment: dict[str, Any]) -> dict[str, Any]:
    """It is one that the reference knows, without nulls."""
    _ATTACHMENT.validate_python(attachment)
    _check_no_nulls(attachment)
    return attachment


def check_event(event: Event) -> None:
    """It is one that the reference knows, without nulls."""
    _EVENT.validate_python(event)
    _check_no_nulls(event)


def _check_no_nulls(value: Any, path: str = "$") -> None:
    assert value is not None, f"null at {path}: chatkit.js refuses it"
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_no_nulls(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_no_nulls(inner, f"{path}[{index}]")


def thread_id_of(events: list[Event]) -> str:
    """The id of the thread that the events create."""
    return next(event["thread"]["id"] for event in events if event["type"] == "thread.created")


def deltas_of(events: list[Event]) -> str:
    """The text of all deltas."""
    updates = [event["update"] for event in events if event["type"] == "thread.item.updated"]
    return "".join(u["delta"] for u in updates if u["type"] == "assistant_message.content_part.text_delta")


def answers_of(events: list[Event]) -> list[str]:
    """The text of each finished assistant message."""
    items = [event["item"] for event in events if event["type"] == "thread.item.done"]
    return [text_of(item) for item in items if item["type"] == "assistant_message"]


def text_of(item: dict[str, Any]) -> str:
    """The text of a message."""
    return "".join(part["text"] for part in item["content"])


def errors_of(events: list[Event]) -> list[Event]:
    """The error events."""
    return [event for event in events if event["type"] == "error"]


def kinds_of(events: list[Event]) -> list[str]:
    """The types of events, and of updates, in order; a run of deltas counts once."""
    kinds: list[str] = []
    for event in events:
        kind = event["update"]["type"] if event["type"] == "thread.item.updated" else event["type"]
        if event["type"] in {"thread.item.added", "thread.item.done"}:
            kind += f" {event['item']['type']}"
        if not (kinds and kinds[-1] == kind and kind.endswith("text_delta")):
            kinds.append(kind)
    return kinds
