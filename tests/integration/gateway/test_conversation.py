"""A conversation, end to end, through real processes and real HTTP."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.client import (
    Client,
    answers_of,
    deltas_of,
    errors_of,
    kinds_of,
    message,
    text_of,
    thread_id_of,
)
from tests.processes import running
from tests.stack import Stack, gateway_service

OPENING = [
    "thread.created",
    "thread.item.done user_message",
    "stream_options",
    "thread.item.added assistant_message",
    "assistant_message.content_part.added",
    "assistant_message.content_part.text_delta",
    "assistant_message.content_part.done",
    "thread.item.done assistant_message",
    "thread.updated",
]


async def test_a_new_thread_streams_its_answer_in_the_references_order(client: Client) -> None:
    events = await client.create("Hello")
    assert kinds_of(events) == OPENING
    assert deltas_of(events) == answers_of(events)[0] != ""


async def test_the_answer_arrives_while_the_model_still_speaks(client: Client) -> None:
    """The system before this one never really streamed."""
    clock = asyncio.get_running_loop().time
    model = "script:deltas=60&delay_ms=50"
    async with client.stream("threads.create", input=message("Hello", model=model)) as events:
        times = [clock() async for event in events if event["type"] == "thread.item.updated"]
    assert times[-1] - times[0] > 0.3


async def test_a_thread_is_found_again_with_its_title_and_items(client: Client) -> None:
    events = await client.create("What is a bobbin?")
    thread_id = thread_id_of(events)

    thread = await client.call("threads.get_by_id", thread_id=thread_id)
    assert thread["title"] == "What is a bobbin?"
    assert [item["type"] for item in thread["items"]["data"]] == ["user_message", "assistant_message"]
    assert text_of(thread["items"]["data"][1]) == deltas_of(events)

    listed = await client.call("threads.list", limit=9999)
    assert listed["data"][0]["id"] == thread_id
    items = await client.call("items.list", thread_id=thread_id, order="asc")
    assert items["data"] == thread["items"]["data"]


async def test_a_second_message_is_answered_with_the_first_in_the_models_context(
    client: Client, stack: Stack
) -> None:
    """The system before this one forgot the history it had stored."""
    first = "My name is Grace Hopper"
    thread_id = thread_id_of(await client.create(first))
    await client.say(thread_id, "Who am I?")

    async with httpx.AsyncClient(timeout=30) as http:
        found = (await http.get(f"{stack.model.url}/requests?contains=Who+am+I")).json()["requests"]
    assert first in json.dumps(found[-1]["body"])
    items = (await client.call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"] * 2


async def test_retry_drops_the_old_answer_and_gives_a_new_one(client: Client) -> None:
    events = await client.create("Hello")
    thread_id = thread_id_of(events)
    question = (await client.call("items.list", thread_id=thread_id, order="asc"))["data"][0]
    old = next(e["item"]["id"] for e in events if e["type"] == "thread.item.added")

    again = await client.events("threads.retry_after_item", thread_id=thread_id, item_id=question["id"])

    assert kinds_of(again)[:2] == ["stream_options", "thread.item.added assistant_message"]
    items = (await client.call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]
    assert items[1]["id"] != old


async def test_a_thread_can_be_renamed_and_deleted(client: Client) -> None:
    thread_id = thread_id_of(await client.create("Hello"))
    renamed = await client.call("threads.update", thread_id=thread_id, title="Another name")
    assert renamed["title"] == "Another name"
    await client.say(thread_id, "More")
    assert (await client.call("threads.get_by_id", thread_id=thread_id))["title"] == "Another name"
    await client.call("threads.delete", thread_id=thread_id)
    gone = await client.post({"type": "threads.get_by_id", "params": {"thread_id": thread_id}})
    assert gone.status_code == 404
    assert gone.json()["message"]


async def test_feedback_is_taken(client: Client) -> None:
    events = await client.create("Hello")
    answer = next(e["item"]["id"] for e in events if e["type"] == "thread.item.added")
    answered = await client.call(
        "items.feedback", thread_id=thread_id_of(events), item_ids=[answer], kind="positive"
    )
    assert answered == {}


async def test_pages_run_through_all_items_both_ways(client: Client) -> None:
    thread_id = thread_id_of(await client.create("one"))
    for word in ("two", "three"):
        await client.say(thread_id, word)
    for order in ("asc", "desc"):
        whole = (await client.call("items.list", thread_id=thread_id, order=order))["data"]
        pages, after = [], None
        while True:
            cursor = {"after": after} if after else {}
            page = await client.call("items.list", thread_id=thread_id, order=order, limit=2, **cursor)
            pages += page["data"]
            if not page["has_more"]:
                break
            after = page["after"]
        assert pages == whole
        assert len(pages) == 6


async def test_the_stream_tells_proxies_not_to_buffer_and_names_its_turn(client: Client) -> None:
    body = json.dumps({"type": "threads.create", "params": {"input": message("Hello")}})
    async with client.http.stream("POST", "/chatkit", content=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["chatkit-turn-id"].startswith("trn_")
        raw = await response.aread()
    assert all(block.startswith(b"data: {") for block in raw.split(b"\n\n")[:-1])


async def test_a_quiet_stream_is_kept_alive_by_comments_that_chatkit_js_ignores(stack: Stack) -> None:
    """A comment followed by a blank line would reach chatkit.js as an empty message."""
    with running(gateway_service(stack.store, stack.model, KEEPALIVE_S="0.1")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            body = {"type": "threads.create", "params": {"input": message("x", model="script:first_ms=3000")}}
            raw = (await http.post("/chatkit", json=body)).content
    assert raw.count(b": ping\n") >= 3
    assert b": ping\n\n" not in raw
    assert b"\n\n: ping\n" in raw


async def test_a_model_must_be_on_offer(stack: Stack) -> None:
    with running(gateway_service(stack.store, stack.model, MODELS="one, two")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            chat = Client(http)
            assert errors_of(await chat.create("Hello", model="two")) == []
            refused = await chat.post(
                {"type": "threads.create", "params": {"input": message("Hello", model="three")}}
            )
    assert refused.status_code == 400
    assert refused.json()["field"] == "params.input.inference_options.model"


async def test_a_model_can_name_the_thread_without_holding_up_the_answer(stack: Stack) -> None:
    settings = {"TITLE_MODEL": "script:text=A+fine+title&head_ms=150", "TITLE_WAIT_S": "20"}
    with running(gateway_service(stack.store, stack.model, **settings)) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            chat = Client(http)
            events = await chat.create("Hello")
            assert kinds_of(events) == OPENING
            assert events[-1]["thread"]["title"] == "A fine title"
            thread = await chat.call("threads.get_by_id", thread_id=thread_id_of(events))
    assert thread["title"] == "A fine title"


@pytest.mark.parametrize("model", ["script:status=500", "script:head_ms=60000", "script:text=%00"])
async def test_without_a_title_from_the_model_the_first_words_do(stack: Stack, model: str) -> None:
    with running(gateway_service(stack.store, stack.model, TITLE_MODEL=model, TITLE_WAIT_S="0.3")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            events = await Client(http).create("Hello there")
    assert errors_of(events) == []
    assert events[-1]["thread"]["title"] == "Hello there"


async def test_several_workers_lose_nothing_of_messages_that_cross(stack: Stack) -> None:
    """Neither worker knows of the other's turn; both users have read their answer."""
    with running(gateway_service(stack.store, stack.model, GATEWAY_WORKERS="2", LEASE_S="15")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            thread_id = thread_id_of(await Client(http).create("Hello"))

        async def say(word: str) -> list[dict[str, object]]:
            # a connection of its own, so that the kernel may give it to either worker
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                return await Client(http).say(thread_id, word, model="script:deltas=20&delay_ms=10")

        streams = await asyncio.gather(*(say(f"number {n}") for n in range(8)))
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            items = (await Client(http).call("items.list", thread_id=thread_id, limit=100))["data"]
    assert [errors_of(events) for events in streams] == [[]] * 8
    stored = [text_of(item) for item in items]
    assert {f"number {n}" for n in range(8)} <= set(stored)
    assert all(answer in stored for events in streams for answer in answers_of(events))
