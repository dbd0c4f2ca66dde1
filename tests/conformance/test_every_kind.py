"""Every kind of event, item and update goes through HTTP, fits the reference's types and is kept as streamed.

The kinds are those of the protocol's unions: whoever adds one gets a failing test until it has a sample.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, cast, get_args
from uuid import uuid4

import msgspec
import pytest

from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, ThreadItem
from bobbin_protocol.updates import ThreadItemUpdate
from tests.client import Client, Event, check_event, thread_id_of
from tests.cluster import Cluster, running_cluster
from tests.scripted import call, done, questions, says, script, widget
from tests.turns import stored


def tags(union: Any) -> list[str]:
    return sorted(kind.__struct_config__.tag for kind in get_args(union))


@pytest.fixture(scope="module")
def one() -> Iterator[Cluster]:
    """A gateway whose agent does what it is told."""
    with running_cluster(1, GATEWAY_AGENT="tests.scripted:scripted") as cluster:
        yield cluster


@pytest.fixture
async def chat(one: Cluster) -> AsyncIterator[Client]:
    async with one.client(0).http as http:
        yield Client(http)


SOURCES: list[dict[str, Any]] = [
    {"type": "url", "title": "A page", "url": "https://example.org", "attribution": "example"},
    {"type": "file", "title": "A file", "filename": "a.txt", "group": "files"},
    {"type": "entity", "title": "A thing", "id": "e1", "icon": "bolt", "data": {"a": 1}, "interactive": True},
]
ANNOTATIONS = [
    {"type": "annotation", "source": source, "index": index} for index, source in enumerate(SOURCES)
]
TEXT = [{"type": "output_text", "text": "Grüße, **Welt** 🧵", "annotations": ANNOTATIONS}]
TASKS: list[dict[str, Any]] = [
    {"type": "custom", "status_indicator": "complete", "title": "Step", "icon": "search", "content": "Done"},
    {
        "type": "web_search",
        "status_indicator": "none",
        "title": "Search",
        "title_query": "q",
        "queries": ["q"],
        "sources": SOURCES[:1],
    },
    {"type": "thought", "status_indicator": "none", "title": "Hm", "content": "I think"},
    {"type": "file", "status_indicator": "loading", "title": "Files", "sources": SOURCES[1:2]},
    {"type": "image", "status_indicator": "none", "title": "Image"},
]
IMAGE = {"id": "img_1", "url": "https://example.org/a.png"}


def workflow(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "custom", "tasks": list(tasks), "expanded": False, **fields}


ITEMS: dict[str, dict[str, Any] | None] = {
    "user_message": None,  # the user's own
    "assistant_message": done("assistant_message", content=TEXT),
    "client_tool_call": call(),
    "widget": widget(copy_text="Hello"),
    "generated_image": done("generated_image", image=IMAGE),
    "structured_input": questions(),
    "task": done("task", task=TASKS[1]),
    "workflow": done("workflow", workflow=workflow(*TASKS, summary={"duration": 3})),
    "end_of_turn": done("end_of_turn"),
    "hidden_context_item": done("hidden_context_item", content={"secret": [1, None]}),
    "sdk_hidden_context": done("sdk_hidden_context", content="secret"),
}


def test_there_is_a_sample_of_every_item() -> None:
    assert sorted(ITEMS) == tags(ThreadItem)


@pytest.mark.parametrize("kind", ITEMS)
async def test_an_item_of_every_kind_is_kept_as_it_was_streamed(
    chat: Client, one: Cluster, kind: str
) -> None:
    sample = ITEMS[kind]
    events = await chat.create(script(*([] if sample is None else [sample])))
    thread_id = thread_id_of(events)
    told = [event["item"] for event in events if event["type"] == "thread.item.done"]
    loaded = (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]
    by_thread = (await chat.call("threads.get_by_id", thread_id=thread_id))["items"]["data"]
    assert told == loaded == by_thread
    assert told[0]["type"] == "user_message"
    kept = await stored(one, thread_id)
    if sample is not None:
        wanted = {"thread_id": thread_id, "created_at": kept[-1]["created_at"], **sample["item"]}
        assert kept[-1] == wanted
    assert (kind in {item["type"] for item in told}) == (kind not in HIDDEN_ITEM_TYPES)


def added(kind: str, **fields: Any) -> dict[str, Any]:
    """The beginning of an item."""
    return {"type": "thread.item.added", "item": {"type": kind, "id": f"msg_{uuid4().hex}", **fields}}


def _markdown(text: str, *, streaming: bool) -> dict[str, Any]:
    return {"type": "Markdown", "id": "m", "value": text, "streaming": streaming}


def card(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Card", "children": list(children)}


MESSAGE = ("assistant_message", {"content": TEXT})
FLOW = ("workflow", {"workflow": workflow(TASKS[0])})
CARD = (
    "widget",
    {"widget": card(_markdown("Hel", streaming=True), {"type": "Text", "id": "t", "value": "x"})},
)
PICTURE = ("generated_image", {})

UPDATES: dict[str, tuple[tuple[str, dict[str, Any]], list[dict[str, Any]]]] = {
    "assistant_message.content_part.added": (MESSAGE, [{"content_index": 1, "content": TEXT[0]}]),
    "assistant_message.content_part.text_delta": (
        MESSAGE,
        [{"content_index": 0, "delta": d} for d in (" and", " more", "\n🧵")],
    ),
    "assistant_message.content_part.annotation_added": (
        MESSAGE,
        [{"content_index": 0, "annotation_index": 1, "annotation": a} for a in ANNOTATIONS],
    ),
    "assistant_message.content_part.done": (
        MESSAGE,
        [{"content_index": 0, "content": TEXT[0] | {"text": "so"}}],
    ),
    "widget.streaming_text.value_delta": (
        CARD,
        [{"component_id": "m", "delta": d, "done": d == "!"} for d in ("lo", "!")],
    ),
    "widget.component.updated": (
        CARD,
        [{"component_id": "t", "component": {"type": "Badge", "id": "t", "label": "new"}}],
    ),
    "widget.root.updated": (CARD, [{"widget": {"type": "ListView", "children": []}}]),
    "workflow.task.added": (FLOW, [{"task_index": n, "task": task} for n, task in enumerate(TASKS, 1)]),
    "workflow.task.updated": (FLOW, [{"task_index": 0, "task": task} for task in TASKS]),
    "generated_image.updated": (PICTURE, [{"image": IMAGE, "progress": n} for n in (0.5, 1.0)]),
}


def test_there_is_a_sample_of_every_update() -> None:
    assert sorted(UPDATES) == tags(ThreadItemUpdate)


@pytest.mark.parametrize("kind", UPDATES)
async def test_updates_of_every_kind_make_the_item_that_is_kept(chat: Client, kind: str) -> None:
    """A thread loaded while the item is made shows what a client that follows has made of the updates."""
    (item_kind, fields), updates = UPDATES[kind]
    start = added(item_kind, **fields)
    item_id = start["item"]["id"]
    changes = [
        {"type": "thread.item.updated", "item_id": item_id, "update": {"type": kind, **update}}
        for update in updates
    ]
    made = _folded([_known(start), *changes])
    steps = [start, *changes, 1.0, {"type": "thread.item.done", "item": made}]
    thread_id, seen, streamed = "", None, list[Event]()
    async with chat.stream("threads.create", input=_message(script(*steps))) as events:
        async for event in events:
            check_event(event)
            streamed.append(event)
            thread_id = thread_id or thread_id_of(streamed)
            if event["type"] == "thread.item.updated" and len(_updates(streamed)) == len(updates):
                seen = (await chat.call("threads.get_by_id", thread_id=thread_id))["items"]["data"][-1]
    assert [update["type"] for update in _updates(streamed)] == [kind] * len(updates)
    assert _updates(streamed) == [change["update"] for change in changes]
    loaded = (await chat.call("items.list", thread_id=thread_id))["data"][0]
    told = next(event["item"] for event in streamed[::-1] if event["type"] == "thread.item.done")
    assert loaded == told
    unlike = {"created_at", "thread_id"}
    assert {key: value for key, value in loaded.items() if key not in unlike} == {
        key: value for key, value in made.items() if key not in unlike
    }
    assert seen == {**loaded, "created_at": seen and seen["created_at"]}


def _message(text: str) -> dict[str, Any]:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


def _updates(events: list[Event]) -> list[dict[str, Any]]:
    return [event["update"] for event in events if event["type"] == "thread.item.updated"]


def _known(event: Event) -> Event:
    known = {"thread_id": "thr_x", "created_at": datetime.now(UTC).isoformat()}
    return {**event, "item": {**known, **event["item"]}}


def _folded(events: list[Event]) -> dict[str, Any]:
    """The item of these events, without what the agent fills in."""
    fold = ItemFold()
    for event in events:
        fold.apply(msgspec.convert(event, cast("type[ThreadStreamEvent]", ThreadStreamEvent)))
    (item,) = fold.items()
    return {
        key: value
        for key, value in msgspec.to_builtins(item).items()
        if key not in {"thread_id", "created_at"}
    }


EVENTS: dict[str, list[Any]] = {
    "thread.created": [],
    "thread.updated": [{"status": {"type": "active"}}],
    "thread.item.added": [added("assistant_message", content=[])],
    "thread.item.updated": [
        start := added("assistant_message", content=[]),
        {
            "type": "thread.item.updated",
            "item_id": start["item"]["id"],
            "update": {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "x"},
        },
    ],
    "thread.item.done": [says("x")],
    "thread.item.removed": [
        gone := says("x"),
        {"type": "thread.item.removed", "item_id": gone["item"]["id"]},
    ],
    "thread.item.replaced": [
        said := says("x"),
        {"type": "thread.item.replaced", "item": {**says("y")["item"], "id": said["item"]["id"]}},
    ],
    "stream_options": [{"type": "stream_options", "stream_options": {"allow_cancel": False}}],
    "progress_update": [{"type": "progress_update", "text": "Working", "icon": "search"}],
    "client_effect": [{"type": "client_effect", "name": "open", "data": {"id": 1}}],
    "error": [{"type": "error", "code": "custom", "message": "Oh", "allow_retry": True}],
    "notice": [{"type": "notice", "level": "danger", "message": "**Careful**", "title": "Oh"}],
}


def test_there_is_a_sample_of_every_event() -> None:
    assert sorted(EVENTS) == tags(ThreadStreamEvent)


@pytest.mark.parametrize("kind", EVENTS)
async def test_an_event_of_every_kind_reaches_the_client(chat: Client, kind: str) -> None:
    """And what it leaves in the thread is what a client that follows has left of it."""
    events = await chat.create(script(*EVENTS[kind]))
    assert kind in {event["type"] for event in events}
    for wanted in EVENTS[kind]:
        if wanted.get("type") == kind and "item" not in wanted:
            assert wanted in events
    fold = ItemFold()
    for event in events:
        fold.apply(msgspec.convert(event, cast("type[ThreadStreamEvent]", ThreadStreamEvent)))
    loaded = (await chat.call("items.list", thread_id=thread_id_of(events), order="asc"))["data"]
    assert loaded == [msgspec.to_builtins(item) for item in fold.done()]
