"""Stopping an answer: the partial answer stays, the model stops, the next message is heard."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, message, text_of, thread_id_of
from tests.processes import running
from tests.stack import Stack, gateway_service

SLOW = "script:deltas=400&delay_ms=25"
LARGE = "script:deltas=6000&size=1000"


async def first_deltas(client: Client, count: int = 5, **params: Any) -> list[dict[str, Any]]:
    """Read until some deltas came, then leave without a word."""
    seen: list[dict[str, Any]] = []
    async with client.stream(
        "threads.create", input=message("Tell me a story", model=SLOW), **params
    ) as events:
        async for event in events:
            seen.append(event)
            if deltas_of(seen).count(" ") >= count:
                break
    return seen


async def stored_items(stack: Stack, thread_id: str, *types: str) -> list[dict[str, Any]]:
    """All items of the thread, hidden ones too, as soon as they are of these types."""
    headers = {"authorization": f"Bearer {stack.store_token}", "bobbin-owner": "local"}
    items: list[dict[str, Any]] = []
    client = httpx.AsyncClient(base_url=stack.store.url, headers=headers, timeout=30)
    async with client as http, asyncio.timeout(20):
        while [item["type"] for item in items] != list(types):
            page = await http.get(f"/v1/threads/{thread_id}/items", params={"order": "asc", "hidden": "true"})
            items = page.json()["data"]
            await asyncio.sleep(0.02)
    return items


async def test_leaving_keeps_what_was_said_and_a_note_for_the_model(client: Client, stack: Stack) -> None:
    seen = await first_deltas(client)
    items = await stored_items(
        stack, thread_id_of(seen), "user_message", "assistant_message", "sdk_hidden_context"
    )
    kept = text_of(items[1])
    assert kept.startswith(deltas_of(seen))
    assert len(kept) < 2000


async def test_leaving_closes_the_request_to_the_model(client: Client, stack: Stack) -> None:
    """The provider stops working, and billing."""
    body = message("Sing me a song", model="script:first_ms=20000")
    async with httpx.AsyncClient(base_url=stack.model.url) as model, asyncio.timeout(19):

        async def outcomes() -> list[str]:
            asked = (await model.get("/requests", params={"contains": "Sing me a song"})).json()["requests"]
            return [request["outcome"] for request in asked]

        async with client.stream("threads.create", input=body) as events:
            seen = [await anext(events)]
            while await outcomes() != ["open"]:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.02)
        await stored_items(stack, thread_id_of(seen), "user_message", "sdk_hidden_context")
        while await outcomes() == ["open"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await outcomes() == ["disconnected"]


async def test_the_note_never_reaches_a_client(client: Client, stack: Stack) -> None:
    thread_id = thread_id_of(await first_deltas(client))
    await stored_items(stack, thread_id, "user_message", "assistant_message", "sdk_hidden_context")
    items = (await client.call("items.list", thread_id=thread_id))["data"]
    thread = await client.call("threads.get_by_id", thread_id=thread_id)
    assert [item["type"] for item in items] == ["assistant_message", "user_message"]
    assert "sdk_hidden_context" not in str(thread)


async def test_leaving_before_the_first_word_keeps_the_message_alone(client: Client, stack: Stack) -> None:
    body = message("Hello?", model="script:first_ms=20000")
    async with client.stream("threads.create", input=body) as events:
        seen = [await anext(events)]
    await stored_items(stack, thread_id_of(seen), "user_message", "sdk_hidden_context")


async def test_a_new_message_ends_the_running_answer_and_is_answered(client: Client, stack: Stack) -> None:
    async with client.stream("threads.create", input=message("Tell me a story", model=SLOW)) as events:
        seen: list[dict[str, Any]] = []
        async for event in events:
            seen.append(event)
            if len(deltas_of(seen)) > 20:
                break
        thread_id = thread_id_of(seen)
        second = await client.say(thread_id, "Stop, shorter!", model="script:text=ok")
        seen += [event async for event in events]  # the first stream ends
    assert answers_of(second) == ["ok"]
    items = await stored_items(
        stack,
        thread_id,
        "user_message",
        "assistant_message",
        "sdk_hidden_context",
        "user_message",
        "assistant_message",
    )
    assert text_of(items[1]) == deltas_of(seen)


async def test_messages_that_arrive_together_are_heard_one_after_the_other(client: Client) -> None:
    """Each ends the answer before it; every message is stored once, and the last one is answered."""
    thread_id = thread_id_of(await client.create("Hello"))
    words = [f"number {n}" for n in range(6)]
    slow = "script:deltas=40&delay_ms=10"
    streams = await asyncio.gather(*(client.say(thread_id, word, model=slow) for word in words))
    assert [errors_of(events) for events in streams] == [[]] * 6
    items = (await client.call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert sorted(text_of(item) for item in items if item["type"] == "user_message") == ["Hello", *words]
    assert items[-1]["type"] == "assistant_message"
    stored = [text_of(item) for item in items]
    assert all(deltas_of(events) in stored for events in streams if deltas_of(events).strip())
    assert text_of(items[-1]) in [deltas_of(events) for events in streams if answers_of(events)]


async def test_a_name_given_during_the_answer_stays(client: Client) -> None:
    body = message("Tell me a story", model="script:deltas=20&first_ms=5000")
    async with client.stream("threads.create", input=body) as events:
        thread_id = (await anext(events))["thread"]["id"]
        await client.call("threads.update", thread_id=thread_id, title="My name")
        rest = [event async for event in events]
    assert "thread.updated" not in [event["type"] for event in rest]
    assert (await client.call("threads.get_by_id", thread_id=thread_id))["title"] == "My name"


async def test_deleting_a_thread_ends_its_answer(client: Client) -> None:
    async with client.stream("threads.create", input=message("Tell me a story", model=SLOW)) as events:
        created = await anext(events)
        await client.call("threads.delete", thread_id=created["thread"]["id"])
        async with asyncio.timeout(8):
            rest = [event async for event in events]
    assert errors_of(rest) == []


@pytest.fixture
async def patient(stack: Stack) -> AsyncIterator[Client]:
    gateway = gateway_service(stack.store, stack.model, CANCEL_GRACE_S="60")
    with running(gateway):
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            yield Client(http)


async def test_with_a_grace_period_the_answer_outlives_its_reader(patient: Client, stack: Stack) -> None:
    body = message("Hello", model="script:deltas=20&delay_ms=20&text=" + "word+" * 20)
    async with patient.stream("threads.create", input=body) as events:
        seen = [await anext(events)]
    items = await stored_items(stack, thread_id_of(seen), "user_message", "assistant_message")
    assert text_of(items[1]).count("word") == 20


async def test_a_reader_that_never_reads_holds_up_nobody(stack: Stack) -> None:
    with running(
        gateway_service(stack.store, stack.model, SEND_TIMEOUT_S="0.5", MAX_OUTPUT_BYTES="40000000")
    ) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            chat = Client(http)
            thread_id = thread_id_of(await chat.create("Hello"))
            body = {
                "type": "threads.add_user_message",
                "params": {"thread_id": thread_id, "input": message("All of it", model=LARGE)},
            }
            content = json.dumps(body).encode()
            head = (
                "POST /chatkit HTTP/1.1\r\nhost: localhost\r\nchatkit-resumable: 1\r\n"
                f"content-length: {len(content)}\r\n\r\n"
            )
            with socket.socket() as reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect(("127.0.0.1", gateway.port))
                reader.sendall(head.encode() + content)
                items = await stored_items(stack, thread_id, *["user_message", "assistant_message"] * 2)
                await asyncio.sleep(3)
                late = await asyncio.to_thread(_read_to_end, reader)
    assert len(text_of(items[-1])) == 6_000_000
    assert len(late) < 6_000_000


def _read_to_end(connection: socket.socket) -> bytes:
    """What still comes before the server's end of the connection; a server that waits on fails the test."""
    connection.settimeout(5)
    data = b""
    try:
        while received := connection.recv(1 << 20):
            data += received
    except ConnectionResetError:
        pass
    return data


async def test_a_gateway_that_stops_keeps_the_running_answers(stack: Stack) -> None:
    """Asked to stop, it ends its turns honestly: what was said is stored, and the client may try again."""
    gateway = gateway_service(stack.store, stack.model, SHUTDOWN_GRACE_S="0.2").start()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        seen: list[dict[str, Any]] = []
        async with Client(http).stream("threads.create", input=message("A story", model=SLOW)) as events:
            async for event in events:
                seen.append(event)
                if len(deltas_of(seen)) > 20 and not errors_of(seen):
                    stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
                    break
            seen += [event async for event in events]
    assert await stopping == 0
    assert [error["allow_retry"] for error in errors_of(seen)] == [True]
    items = await stored_items(stack, thread_id_of(seen), "user_message", "assistant_message")
    assert text_of(items[1]) == deltas_of(seen)
