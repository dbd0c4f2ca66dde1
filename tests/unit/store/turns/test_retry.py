"""Answering messages again through the HTTP API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.unit.store.conftest import Store, assistant_message, begin, hidden_context, retry
from tests.unit.store.leases import admin, blocked, held

__all__ = ["admin"]


async def state(store: Store, turn_id: str) -> str:
    return (await store.get(f"/turns/{turn_id}"))["state"]


async def test_a_retry_removes_what_followed_the_message_and_answers_it_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    begun = await store.post("/turns", retry("u3", "t1", "m-u1"))
    assert [item["id"] for item in begun["history"]] == ["m-u1"]
    assert begun["message"]["id"] == "m-u1"
    assert await store.item_ids("t1") == ["m-u1"]
    assert await state(store, "u2") == "interrupted"


async def test_a_repeated_retry_does_not_remove_what_was_said_since(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "old-answer")
    first = await store.post("/turns", retry("u2", "t1", "m-u1"))
    await store.items("t1", "new-answer")
    assert await store.post("/turns", retry("u2", "t1", "m-u1")) == first
    assert await store.item_ids("t1") == ["m-u1", "new-answer"]


async def test_only_a_user_message_of_the_thread_can_be_answered_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    answer = await store.call("POST", "/turns", retry("u2", "t1", "answer"))
    assert (answer.status, answer.body["field"]) == (400, "$.input.item_id")
    answer = await store.call("POST", "/turns", retry("u2", "t1", "unknown"))
    assert (answer.status, answer.body["field"]) == (404, "$.input.item_id")
    assert await store.item_ids("t1") == ["m-u1", "answer"]


async def test_those_who_watch_are_told_what_is_removed_and_then_of_the_turn(
    store: Store, admin: Any
) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "a", "b")
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    await admin.execute("DELETE FROM changes")
    await store.post("/turns", retry("u2", "t1", "m-u1"))
    rows = await admin.fetch("SELECT owner_id, thread_id, turn_id, event FROM changes ORDER BY id")
    assert {(row["owner_id"], row["thread_id"]) for row in rows} == {("alice", "t1")}
    assert [row["turn_id"] for row in rows] == [None, None, "u2"]
    assert [row["event"] and json.loads(row["event"]) for row in rows] == [
        {"type": "thread.item.removed", "item_id": "a"},
        {"type": "thread.item.removed", "item_id": "b"},
        None,
    ]


async def test_a_retry_that_rather_waits_is_refused_while_a_turn_runs(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    answer = await store.call("POST", "/turns", retry("u2", "t1", "m-u1", if_running="refuse"))
    assert (answer.status, answer.body["code"], answer.body["turn_id"]) == (409, "turn_running", "u1")
    assert await store.item_ids("t1") == ["m-u1", "answer"]
    await store.post("/turns/u1/finish", {"state": "completed"})
    await store.post("/turns", retry("u2", "t1", "m-u1", if_running="refuse"))
    assert await store.item_ids("t1") == ["m-u1"]


async def test_nothing_of_a_turn_whose_place_was_removed_is_stored_but_its_end(store: Store) -> None:
    """Its gateway says late what it had to say; those who follow the turn elsewhere must learn of its end."""
    await store.post("/turns", begin("u1", "t1", gateway_id="gw_a"))
    await store.post("/turns", retry("u2", "t1", "m-u1"))
    assert "event_count" not in await store.get("/turns/u1")
    outcome = {
        "state": "completed",
        "items": [assistant_message("late", "t1")],
        "thread": {"title": "Late"},
        "suggested_title": "Late",
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "gateway_id": "gw_a",
        "event_count": 7,
    }
    for _ in range(2):
        assert (await store.post("/turns/u1/finish", outcome))["state"] == "interrupted"
    record = await store.get("/turns/u1")
    assert (record["state"], record["event_count"]) == ("interrupted", 7)
    assert record["usage"] == {"input_tokens": 1, "output_tokens": 2}
    assert await store.item_ids("t1") == ["m-u1"]
    assert "title" not in (await store.get("/threads/t1"))["thread"]
    assert await state(store, "u2") == "running"


async def test_a_retry_removes_what_was_added_while_it_waited_for_the_thread(
    store: Store, admin: Any
) -> None:
    await store.post("/turns", begin("u1", "t1"))
    async with held(admin, "UPDATE threads SET last_seq = 2 WHERE id = 't1'"):
        retrying = asyncio.create_task(store.post("/turns", retry("u2", "t1", "m-u1")))
        await blocked(admin)
        await admin.execute(
            """
            INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
            VALUES ('alice', 't1', 'late', 2, 'end_of_turn', false, now(), '{}')
            """
        )
    assert [item["id"] for item in (await retrying)["history"]] == ["m-u1"]
    assert await store.item_ids("t1") == ["m-u1"]


async def test_retries_and_messages_at_once_leave_one_turn_and_a_thread_in_order(store: Store) -> None:
    await store.post("/turns", begin("u0", "t1"))
    turns = [f"u{number}" for number in range(1, 9)]
    answers = await asyncio.gather(
        *(
            store.post(
                "/turns", begin(turn, "t1", "add_user_message") if n % 2 else retry(turn, "t1", "m-u0")
            )
            for n, turn in enumerate(turns)
        )
    )
    states = [await state(store, turn) for turn in ["u0", *turns]]
    assert sorted(states) == ["interrupted"] * 8 + ["running"]
    order = await store.item_ids("t1")
    assert order[0] == "m-u0"
    # The turn that runs is the last that began: its context is the thread as it stands.
    running = answers[states.index("running") - 1]
    assert [item["id"] for item in running["history"]] == order
