"""Our reading of a model's output beside the reference's, on the recorded streams of the Responses dialect.

The reference (``chatkit.agents.stream_agent_response``) gets the same events as the typed objects that the
openai package makes of them, as the Agents SDK hands them over. Ids are replaced by their order of
appearance, times are left out, pieces of a text are put together, and so are the states of a step: then both
must have shown the same, but for the differences listed here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import Struct

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference calls its own widgets deprecated
    from chatkit.agents import AgentContext, stream_agent_response
    from chatkit.types import Page, ThreadMetadata
    from openai._models import construct_type
    from openai.types.responses import ResponseStreamEvent

from bobbin_protocol.sse import SSEParser
from bobbin_protocol.wire import encode_json
from tests.recordings import ALL, Recording
from tests.unit.gateway.openai_agent.samples import hear

pytestmark = pytest.mark.filterwarnings("ignore")

Event = dict[str, Any]
Events = list[Event]

RESPONSES = [recording for recording in ALL if recording.dialect == "responses"]


class Difference(Struct, frozen=True):
    """Where the two part, and what has to be done to one of the traces to make them equal there."""

    why: str
    level: Callable[[Events], Events]
    ours: bool = True
    """Whose trace is changed."""
    only: tuple[str, ...] = ()
    """Parts of the names of the recordings; none: all of them."""


# ----------------------------------------------------------------------------------------------------------
# How to level the differences


def without_notices(events: Events) -> Events:
    return [event for event in events if event["type"] != "notice"]


def part_ends_without_annotations(events: Events) -> Events:
    for event in events:
        if update_type(event) == "assistant_message.content_part.done":
            event["update"]["content"]["annotations"] = []
    return events


def named_reasoning(events: Events) -> Events:
    for event in events:
        if "workflow" in event.get("item", {}):
            event["item"]["workflow"]["type"] = "reasoning"
    return events


def thoughts_only(events: Events) -> Events:
    """Without other steps, and without workflows that have nothing else."""
    return without_tasks(events, lambda task: task["type"] != "thought")


def no_thoughts(events: Events) -> Events:
    return without_tasks(events, lambda task: task["type"] == "thought")


def without_tasks(events: Events, unwanted: Callable[[Event], bool]) -> Events:
    kept: Events = []
    places: dict[str, int] = {}
    empty: set[str] = set()
    for event in events:
        workflow = event.get("item", {}).get("workflow")
        if workflow is not None:
            workflow["tasks"] = [task for task in workflow["tasks"] if not unwanted(task)]
            places.setdefault(event["item"]["id"], len(workflow["tasks"]))
            if workflow["type"] == "custom" and not workflow["tasks"]:
                empty.add(event["item"]["id"])
                continue
        if update_type(event) == "workflow.task.added":
            item_id = event["item_id"]
            if unwanted(event["update"]["task"]) or item_id in empty:
                continue
            event["update"]["task_index"] = places[item_id]
            places[item_id] += 1
        kept.append(event)
    return kept


def without_last_end_of_a_workflow(events: Events) -> Events:
    last = events[-1] if events else {}
    ended = last.get("type") == "thread.item.done" and "workflow" in last["item"]
    return events[:-1] if ended else events


def without_images(events: Events) -> Events:
    return [event for event in events if event.get("item", {}).get("type") != "generated_image"]


def without_empty_messages(events: Events) -> Events:
    empty = {
        event["item"]["id"]
        for event in events
        if event["type"] == "thread.item.done"
        and event["item"]["type"] == "assistant_message"
        and not any(part["text"] for part in event["item"]["content"])
    }
    return [event for event in events if item_id(event) not in empty]


def workflow_ended_before_images(events: Events) -> Events:
    ends = [event for event in events if event["type"] == "thread.item.done" and "workflow" in event["item"]]
    rest = [event for event in events if event not in ends]
    place = next(i for i, event in enumerate(rest) if event.get("item", {}).get("type") == "generated_image")
    return [*rest[:place], *ends, *rest[place:]]


def real_type_of_image(events: Events) -> Events:
    text = json.dumps(events).replace("data:image/png;base64,UklGR", "data:image/webp;base64,UklGR")
    return cast("Events", json.loads(text))


def ids_of_the_item_that_was_added_last(events: Events) -> Events:
    """And without the thought that comes twice because of it."""
    last, kept = "", Events()
    for event in events:
        if event["type"] == "thread.item.added":
            last = event["item"]["id"]
        elif event["type"] == "thread.item.updated":
            event["item_id"] = last
        elif event["item"]["type"] == "assistant_message":
            event["item"]["id"] = last
        if "workflow" in event.get("item", {}):
            event["item"]["workflow"]["tasks"] = event["item"]["workflow"]["tasks"][:1]
        if not (update_type(event) == "workflow.task.added" and kept and update_type(kept[-1])):
            kept.append(event)
    return renumbered(kept)


DIFFERENCES = [
    Difference("an answer that was cut off, or waits for an approval, is told to the user", without_notices),
    Difference(
        "a part in its final form has its annotations, as the stored item has", part_ends_without_annotations
    ),
    Difference(
        "a workflow that begins with a tool of the provider's is no reasoning", named_reasoning, only=("mcp",)
    ),
    Difference("tools of the provider and calls of our tools are shown as steps", thoughts_only),
    Difference(
        "thoughts that are not summaries are shown, too", no_thoughts, only=("deepseek", "raw-reasoning")
    ),
    Difference(
        "a workflow is closed at the end of the turn, not left open for the next",
        without_last_end_of_a_workflow,
        only=("mcp-approval",),
    ),
    Difference("pictures that code has drawn are shown", without_images, only=("code-interpreter-image",)),
    Difference("a message without a word is not shown", without_empty_messages, ours=False),
    Difference(
        "a workflow is closed before an image appears, as before all else",
        workflow_ended_before_images,
        ours=False,
        only=("image-generation",),
    ),
    Difference("an image is of the type that it is, not always PNG", real_type_of_image, ours=False),
    Difference(
        "ids are ours, since a provider's may change from event to event",
        ids_of_the_item_that_was_added_last,
        ours=False,
        only=("rotating",),
    ),
]


# ----------------------------------------------------------------------------------------------------------
# The traces


class NoStore:
    """A store of a thread without items, and of ids."""

    def __init__(self) -> None:
        self._ids = 0

    async def load_thread_items(self, *_: Any) -> Page[Any]:
        return Page(data=[])

    async def add_thread_item(self, *_: Any) -> None:
        pass

    def generate_item_id(self, *_: Any) -> str:
        self._ids += 1
        return f"id_{self._ids}"


async def theirs(recording: Recording) -> Events:
    async def stream_events() -> AsyncIterator[Any]:
        parser = SSEParser()
        for event in [*parser.feed(recording.data), *parser.finish()]:
            if event.data and event.data != b"[DONE]":
                plain = json.loads(event.data)
                data = cast("Any", construct_type(type_=ResponseStreamEvent, value=plain))
                if "annotation" in plain:
                    # The reference was made for an openai package that left annotations as they came; those
                    # of ours are of a class that it refuses.
                    data.annotation = plain["annotation"]
                yield SimpleNamespace(type="raw_response_event", data=data)

    context = AgentContext(
        thread=ThreadMetadata(id="thr_1", created_at=datetime.now(UTC)),
        store=cast("Any", NoStore()),
        request_context=None,
    )
    run = cast("Any", SimpleNamespace(stream_events=stream_events))
    # As JSON at once: the reference goes on changing what it has sent.
    return [
        json.loads(event.model_dump_json(exclude_none=True))
        async for event in stream_agent_response(context, run)
    ]


def ours(recording: Recording) -> Events:
    heard, _ = hear("responses", [recording.data], str)
    return [json.loads(encode_json(event)) for event in heard.events]


def update_type(event: Event) -> str:
    return str(event.get("update", {}).get("type", ""))


def part_of(event: Event) -> tuple[str, int]:
    return (event["item_id"], event["update"]["content_index"])


def item_id(event: Event) -> str:
    return str(event.get("item_id") or event.get("item", {}).get("id", ""))


def normalised(events: Events) -> Events:
    """Without times."""
    for event in events:
        item = event.get("item", {})
        item.pop("created_at", None)
        item.get("workflow", {}).pop("summary", None)
    return joined(events)


def joined(events: Events) -> Events:
    """Texts in one piece, steps in their last state, ids in the order of their appearance."""
    kept: Events = []
    texts: Event | None = None
    tasks: dict[str, list[Event]] = {}  # of each workflow, what holds its tasks
    for event in renumbered(events):
        kind, workflow = update_type(event), event.get("item", {}).get("workflow")
        if kind == "workflow.task.updated":
            place = event["update"]["task_index"]
            tasks[event["item_id"]][place]["task"] = event["update"]["task"]
            continue
        if kind == "workflow.task.added":
            tasks[event["item_id"]].append(event["update"])
        elif workflow is not None and event["type"] == "thread.item.added":
            workflow["tasks"] = [{"task": task} for task in workflow["tasks"]]
            tasks[event["item"]["id"]] = list(workflow["tasks"])
        is_text = kind == "assistant_message.content_part.text_delta"
        if texts is not None and is_text and part_of(event) == part_of(texts):
            texts["update"]["delta"] += event["update"]["delta"]
            continue
        texts = event if is_text else None
        kept.append(event)
    for event in kept:
        workflow = event.get("item", {}).get("workflow", {"tasks": []})
        workflow["tasks"] = [task.get("task", task) for task in workflow["tasks"]]
    return kept


def renumbered(events: Events) -> Events:
    """Ids in the order of their appearance."""
    names: dict[str, str] = {}
    for event in events:
        for holder, key in [(event, "item_id"), (event.get("item", {}), "id")]:
            if key in holder:
                holder[key] = names.setdefault(holder[key], f"item {len(names) + 1}")
        for holder in (event.get("update", {}), event.get("item", {})):
            if "image" in holder:
                holder["image"]["id"] = "image"
    return events


def levelled(events: Events, recording: Recording, *, is_ours: bool) -> Events:
    for difference in DIFFERENCES:
        if difference.ours is is_ours and applies(difference, recording):
            events = difference.level(events)
    return joined(events)


def applies(difference: Difference, recording: Recording) -> bool:
    return not difference.only or any(part in recording.name for part in difference.only)


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("recording", RESPONSES, ids=str)
async def test_both_show_the_same_but_for_the_differences_listed(recording: Recording) -> None:
    mine = levelled(normalised(ours(recording)), recording, is_ours=True)
    reference = levelled(normalised(await theirs(recording)), recording, is_ours=False)
    assert mine == reference


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.why)
async def test_every_difference_listed_is_one(difference: Difference) -> None:
    """It changes at least one trace."""
    for recording in RESPONSES:
        if not applies(difference, recording):
            continue
        trace = normalised(ours(recording) if difference.ours else await theirs(recording))
        before = json.dumps(trace)
        with suppress(StopIteration):
            if json.dumps(difference.level(trace)) != before:
                return
    pytest.fail("nothing differs")
