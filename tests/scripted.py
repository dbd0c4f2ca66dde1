"""An agent that does what a script in a request says, for our server and for the reference's.

A script is a JSON list of events as they are sent, without what the agent itself knows of items (thread and
time); between them may stand pauses in seconds, and what the thread's status is to be. It is the text of a
message, the payload of an action, the output of a client tool, or the answer to the question "free". What has
no script is answered by a message that tells what the agent was given.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import msgspec
import structlog

from bobbin_gateway.agent import AgentError, Turn
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.requests import AudioInput, FeedbackKind
from bobbin_protocol.responses import SyncCustomActionResponse
from bobbin_protocol.threads import ClosedStatus, ThreadStatus

log = structlog.get_logger()

Json = dict[str, Any]

_EVENT = cast("type[ThreadStreamEvent]", ThreadStreamEvent)


def steps_of_answer(thread_id: str, message: Json | None, history: Sequence[Json]) -> Iterator[Json | float]:
    """Events and pauses for an answer."""
    text = "".join(part["text"] for part in message["content"]) if message else _script_in(history)
    if text.startswith("["):
        yield from _played(thread_id, json.loads(text))
    else:
        yield _says(thread_id, text or f"I was given: {'; '.join(map(_described, history))}")


def _script_in(history: Sequence[Json]) -> str:
    """The script in the last output or answer, if it is one."""
    for item in reversed(history):
        match item:
            case {"type": "client_tool_call", "output": list() as output}:
                return json.dumps(output)
            case {"type": "structured_input", "inputs": [*_, {"answer": {"values": [str() as text]}}]}:
                return text if text.startswith("[") else ""
            case {"type": "client_tool_call" | "structured_input"}:
                return ""
            case _:
                pass
    return ""


def steps_of_reaction(thread_id: str, action: Json, sender: Json | None) -> Iterator[Json | float]:
    """Events and pauses for the reaction to an action."""
    payload = action.get("payload")
    if isinstance(payload, list):
        yield from _played(thread_id, cast("list[Any]", payload))
    else:
        by = sender["widget"]["type"] if sender else "the page"
        yield _says(thread_id, f"{by} asks for {action['type']}: {json.dumps(payload)}")


def updated_by_sync_action(action: Json, sender: Json | None) -> Json | None:
    """What becomes of the widget that an action came from."""
    return None if sender is None else {**sender, "copy_text": json.dumps(action.get("payload"))}


def _played(thread_id: str, script: list[Any]) -> Iterator[Json | float]:
    for step in script:
        yield step if isinstance(step, int | float) else _complete(thread_id, step)


def _complete(thread_id: str, event: Json) -> Json:
    if "item" not in event:
        return event
    known = {"thread_id": thread_id, "created_at": datetime.now(UTC).isoformat()}
    return {**event, "item": {**known, **event["item"]}}


def _says(thread_id: str, text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "assistant_message", "id": f"msg_{uuid4().hex}", "content": content}
    return _complete(thread_id, {"type": "thread.item.done", "item": item})


def _described(item: Json) -> str:
    match item["type"]:
        case "client_tool_call":
            return f"{item['name']} {item['status']} {json.dumps(item.get('output'))}"
        case "structured_input":
            return f"questions {item['status']} {[q.get('answer') for q in item['inputs']]}"
        case kind:
            return kind


class Scripted:
    """The agent for our gateway: it can do everything."""

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        message = None if turn.message is None else msgspec.to_builtins(turn.message)
        history = [msgspec.to_builtins(item) for item in turn.history]
        if turn.tool_choice is not None:
            yield msgspec.convert(_says(turn.thread.id, f"I shall use {turn.tool_choice}"), _EVENT)
        async for event in _typed(turn, steps_of_answer(turn.thread.id, message, history)):
            yield event

    async def on_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> AsyncIterator[ThreadStreamEvent]:
        widget = None if sender is None else msgspec.to_builtins(sender)
        steps = steps_of_reaction(turn.thread.id, msgspec.to_builtins(action), widget)
        async for event in _typed(turn, steps):
            yield event

    async def on_sync_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> SyncCustomActionResponse:
        match action.type:
            case "refuse":
                raise AgentError("Not today.", allow_retry=False, detail="for the log")
            case "break":
                raise RuntimeError("secret internals")
            case "hang":
                await asyncio.sleep(60)
            case "rename":
                turn.thread.title = action.payload
            case "close":
                turn.thread.status = ClosedStatus(reason=action.payload)
            case _:
                pass
        widget = None if sender is None else msgspec.to_builtins(sender)
        updated = updated_by_sync_action(msgspec.to_builtins(action), widget)
        return SyncCustomActionResponse(
            updated_item=None if updated is None else msgspec.convert(updated, WidgetItem)
        )

    async def on_feedback(
        self, owner_id: str, thread_id: str, item_ids: list[str], kind: FeedbackKind
    ) -> None:
        log.info("feedback", owner_id=owner_id, thread_id=thread_id, item_ids=item_ids, kind=kind)
        if kind == "negative":
            raise RuntimeError("cannot stand it")

    async def transcribe(self, owner_id: str, audio: AudioInput) -> str:
        if audio.data == b"noise":
            raise AgentError("Nothing could be made out.", allow_retry=True, detail="for the log")
        return f"{audio.data.decode()} as {audio.media_type} from {owner_id}"


async def _typed(turn: Turn, steps: Iterator[Json | float]) -> AsyncIterator[ThreadStreamEvent]:
    for step in steps:
        if isinstance(step, int | float):
            await asyncio.sleep(step)
        elif "status" in step:
            turn.thread.status = msgspec.convert(step["status"], cast("type[ThreadStatus]", ThreadStatus))
        else:
            yield msgspec.convert(step, _EVENT)


class Plain:
    """An agent that can do no more than answer."""

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        async for event in Scripted().respond(turn):
            yield event


scripted = Scripted()
plain = Plain()


def done(kind: str, /, **fields: Any) -> Json:
    """The event of an item that is done."""
    item = {"type": kind, "id": f"msg_{uuid4().hex}", **fields}
    return {"type": "thread.item.done", "item": item}


def call(name: str = "look", **fields: Any) -> Json:
    """A client tool call, done."""
    fields = {
        "status": "pending",
        "call_id": "call_1",
        "name": name,
        "arguments": {"where": "there"},
        **fields,
    }
    return done("client_tool_call", **fields)


def questions(**fields: Any) -> Json:
    """Three questions: one choice, many choices, free words."""
    options = [{"value": "red"}, {"value": "blue"}]
    inputs = [
        {"type": "multiple_choice", "id": "one", "question": "Which?", "options": options, "multiple": False},
        {"type": "multiple_choice", "id": "many", "question": "Which?", "options": options, "multiple": True},
        {"type": "freeform", "id": "free", "question": "Why?"},
    ]
    return done("structured_input", status="pending", inputs=inputs, **fields)


def widget(text: str = "Hello", **fields: Any) -> Json:
    """A card."""
    card = {"type": "Card", "children": [{"type": "Text", "id": "text", "value": text}]}
    return done("widget", widget=card, **fields)


def says(text: str) -> Json:
    """A message."""
    return done("assistant_message", content=[{"type": "output_text", "text": text, "annotations": []}])


def hidden(content: Any) -> Json:
    """Context for the model."""
    return done("hidden_context_item", content=content)


def script(*steps: Json | float) -> str:
    """The text of a message that has the agent do this."""
    return json.dumps(steps)
