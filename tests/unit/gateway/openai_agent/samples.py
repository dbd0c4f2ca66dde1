"""Turns, items and streams as the tests of the built-in agent need them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bobbin_gateway.agent import AgentError, Turn
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.chat_reader import ChatReader
from bobbin_gateway.openai_agent.responses_reader import ResponsesReader
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_gateway.openai_agent.work import Titles
from bobbin_protocol.events import ThreadItemUpdatedEvent, ThreadStreamEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import (
    AssistantMessageContent,
    AssistantMessageItem,
    InferenceOptions,
    ThreadItem,
    UserMessageItem,
    UserMessageTextContent,
)
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.updates import AssistantMessageContentPartTextDelta

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IDS = {"thread_id": "thr_1", "created_at": NOW}


def user(text: str, **fields: Any) -> UserMessageItem:
    content = [UserMessageTextContent(text=text)] if text else []
    options: dict[str, Any] = {"content": content, "inference_options": InferenceOptions(), **fields}
    return UserMessageItem(id="msg_u", **IDS, **options)


def assistant(*texts: str) -> AssistantMessageItem:
    return AssistantMessageItem(
        id="msg_a", content=[AssistantMessageContent(text=text) for text in texts], **IDS
    )


def turn(*history: ThreadItem, model: str | None = None) -> Turn:
    items = list(history) or [user("Hello")]
    message = next((item for item in reversed(items) if isinstance(item, UserMessageItem)), None)
    thread = ThreadMetadata(id="thr_1", created_at=NOW)
    return Turn(id="trn_1", owner_id="o", thread=thread, history=items, message=message, model=model)


def untitled(name: str) -> None:
    """Titles of tools, when none are to be shown."""
    del name


def model_stream(dialect: str, titles: Titles = untitled) -> tuple[ModelStream, Answer]:
    answer = Answer(turn(), titles)
    return ModelStream(
        answer, ResponsesReader(answer) if dialect == "responses" else ChatReader(answer)
    ), answer


class Heard:
    """What a client hears of one answer: its events, and the failure that ended it, if one did."""

    def __init__(self) -> None:
        self.events: list[ThreadStreamEvent] = []
        self.failure: AgentError | None = None

    @property
    def kinds(self) -> list[str]:
        """Types of the events, of the update where there is one."""
        return [
            str((event.update if isinstance(event, ThreadItemUpdatedEvent) else event).__struct_config__.tag)
            for event in self.events
        ]

    @property
    def deltas(self) -> str:
        return "".join(
            event.update.delta
            for event in self.events
            if isinstance(event, ThreadItemUpdatedEvent)
            and isinstance(event.update, AssistantMessageContentPartTextDelta)
        )

    @property
    def items(self) -> list[ThreadItem]:
        """The items that the events add up to."""
        fold = ItemFold()
        for event in self.events:
            fold.apply(event)
        return fold.items()

    @property
    def texts(self) -> list[list[str]]:
        """The texts of the parts of each message."""
        return [
            [part.text for part in item.content]
            for item in self.items
            if isinstance(item, AssistantMessageItem)
        ]


def hear(dialect: str, chunks: Iterable[bytes], titles: Titles = untitled) -> tuple[Heard, Answer]:
    """Pass a body in these chunks through the pure part of the agent."""
    stream, answer = model_stream(dialect, titles)
    heard = Heard()
    try:
        for chunk in chunks:
            for events in stream.feed(chunk):
                heard.events += events
        for event in stream.finish():
            heard.events.append(event)
    except AgentError as failure:
        heard.failure = failure
    return heard, answer


def cut(body: bytes, sizes: list[int]) -> list[bytes]:
    """Cut into pieces whose sizes repeat."""
    pieces: list[bytes] = []
    start = 0
    while start < len(body):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(body[start : start + size])
        start += size
    return pieces


def sse(*payloads: dict[str, Any] | str) -> bytes:
    """A body of one event per payload."""
    lines = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chunk(text: str | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of Chat Completions."""
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


def delta(text: str, output: int = 0, part: int = 0) -> dict[str, Any]:
    """A text delta of Responses."""
    place = {"output_index": output, "content_index": part}
    return {"type": "response.output_text.delta", "delta": text, **place}


def completed(**response: Any) -> dict[str, Any]:
    """The end of a stream of Responses."""
    return {"type": "response.completed", "response": {"status": "completed", **response}}
