"""Beginning turns through the HTTP API."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.store.conftest import (
    Store,
    begin,
    file_attachment,
    hidden_context,
    retry,
    user_message,
)


async def state(store: Store, turn_id: str) -> str:
    return (await store.get(f"/turns/{turn_id}"))["state"]


async def test_a_first_message_makes_its_thread_and_comes_back_as_the_whole_context(store: Store) -> None:
    begun = await store.post("/turns", begin("u1", "t1"))
    message = user_message("m-u1", "t1")
    thread = (await store.get("/threads/t1"))["thread"]
    expected = {"turn_id": "u1", "thread": thread, "history": [message], "message": message}
    assert begun == {"type": "begun", **expected}
    assert await store.item_ids("t1") == ["m-u1"]
    assert await state(store, "u1") == "running"


async def test_a_later_message_comes_back_with_all_that_was_said_before(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    begun = await store.post("/turns", begin("u2", "t1", "add_user_message"))
    assert [item["id"] for item in begun["history"]] == ["m-u1", "answer", "h", "m-u2"]
    assert begun["message"] == begun["history"][-1]


async def test_the_context_is_the_last_items_as_many_as_asked_for(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", *(f"i{number}" for number in range(5)))
    begun = await store.post("/turns", begin("u2", "t1", "add_user_message", history_limit=3))
    assert [item["id"] for item in begun["history"]] == ["i3", "i4", "m-u2"]
    begun = await store.post("/turns", begin("u3", "t1", "add_user_message", history_limit=1))
    assert [item["id"] for item in begun["history"]] == ["m-u3"]


async def test_a_turn_that_still_runs_in_the_thread_is_interrupted(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("other", "t2"))
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    assert await state(store, "u1") == "interrupted"
    assert await state(store, "u2") == "running"
    assert await state(store, "other") == "running"


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_repeated_begin_gives_the_same_answer_and_no_second_message(store: Store, kind: str) -> None:
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    first = await store.post("/turns", begin("u1", "t1", kind))
    before = await store.item_ids("t1")
    assert await store.post("/turns", begin("u1", "t1", kind)) == first
    assert await store.item_ids("t1") == before
    assert await state(store, "u1") == "running"


async def test_a_repeated_begin_after_a_later_turn_still_gives_its_own_answer(store: Store) -> None:
    first = await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    assert await store.post("/turns", begin("u1", "t1")) == first
    assert await state(store, "u1") == "interrupted"
    assert await state(store, "u2") == "running"


async def test_a_repeated_begin_works_on_a_thread_locked_meanwhile(store: Store) -> None:
    await store.post("/turns", begin("u0", "t1"))
    first = await store.post("/turns", begin("u1", "t1", "add_user_message"))
    await store.patch("/threads/t1", {"status": {"type": "locked"}})
    again = await store.post("/turns", begin("u1", "t1", "add_user_message"))
    assert again["history"] == first["history"]


async def test_a_repeated_retry_does_not_remove_what_was_said_since(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "old-answer")
    first = await store.post("/turns", retry("u2", "t1", "m-u1"))
    await store.items("t1", "new-answer")
    assert await store.post("/turns", retry("u2", "t1", "m-u1")) == first
    assert await store.item_ids("t1") == ["m-u1", "new-answer"]


async def test_begins_that_come_together_leave_one_running_turn_and_all_messages(store: Store) -> None:
    await store.post("/turns", begin("u0", "t1"))
    turns = [f"u{number}" for number in range(1, 9)]
    answers = await asyncio.gather(
        *(store.post("/turns", begin(turn, "t1", "add_user_message")) for turn in turns)
    )
    states = [await state(store, turn) for turn in ["u0", *turns]]
    assert sorted(states) == ["interrupted"] * 8 + ["running"]
    order = await store.item_ids("t1")
    assert sorted(order) == sorted(f"m-{turn}" for turn in ["u0", *turns])
    # Each saw exactly what was committed before it: nobody's context misses a message.
    for answer in answers:
        seen = [item["id"] for item in answer["history"]]
        assert seen == order[: len(seen)]


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_the_same_begin_sent_twice_at_once_adds_one_message(store: Store, kind: str) -> None:
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    answers = await asyncio.gather(*(store.post("/turns", begin("u1", "t1", kind)) for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert (await store.item_ids("t1")).count("m-u1") == 1


async def test_a_retry_removes_what_followed_the_message_and_answers_it_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    begun = await store.post("/turns", retry("u3", "t1", "m-u1"))
    assert [item["id"] for item in begun["history"]] == ["m-u1"]
    assert begun["message"]["id"] == "m-u1"
    assert await store.item_ids("t1") == ["m-u1"]
    assert await state(store, "u2") == "interrupted"


async def test_only_a_user_message_of_the_thread_can_be_answered_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "answer")
    answer = await store.call("POST", "/turns", retry("u2", "t1", "answer"))
    assert (answer.status, answer.body["field"]) == (400, "$.input.item_id")
    answer = await store.call("POST", "/turns", retry("u2", "t1", "unknown"))
    assert (answer.status, answer.body["field"]) == (404, "$.input.item_id")
    assert await store.item_ids("t1") == ["m-u1", "answer"]


@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_a_locked_or_closed_thread_takes_no_messages(store: Store, status: str) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.patch("/threads/t1", {"status": {"type": status}})
    for body in [begin("u2", "t1", "add_user_message"), retry("u2", "t1", "m-u1")]:
        answer = await store.call("POST", "/turns", body)
        assert (answer.status, answer.body["code"]) == (409, f"thread_{status}")
    assert await store.item_ids("t1") == ["m-u1"]
    assert (await store.call("GET", "/turns/u2")).status == 404


async def test_a_message_carries_its_attachments_and_the_thread_has_them_now(store: Store) -> None:
    for attachment_id in ["a", "b"]:
        await store.post("/attachments", file_attachment(attachment_id, metadata={"path": attachment_id}))
    begun = await store.post("/turns", begin("u1", "t1", attachment_ids=["b", "a"]))
    assert [attachment["id"] for attachment in begun["message"]["attachments"]] == ["b", "a"]
    assert begun["message"]["attachments"][0]["metadata"] == {"path": "b"}
    assert (await store.get("/attachments/a"))["thread_id"] == "t1"
    await store.post("/attachments", file_attachment("c"))
    begun = await store.post("/turns", begin("u2", "t1", "add_user_message", attachment_ids=["c"]))
    assert begun["message"]["attachments"][0]["id"] == "c"
    assert (await store.get("/attachments/c"))["thread_id"] == "t1"


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_message_with_an_unknown_attachment_leaves_nothing_behind(store: Store, kind: str) -> None:
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    await store.post("/attachments", file_attachment("mine"))
    await store.of("bob").post("/attachments", file_attachment("his"))
    answer = await store.call("POST", "/turns", begin("u1", "t1", kind, attachment_ids=["mine", "his"]))
    assert (answer.status, answer.body["field"]) == (404, "$.input.attachment_ids")
    assert (await store.call("GET", "/turns/u1")).status == 404
    assert "thread_id" not in await store.get("/attachments/mine")


async def test_taken_ids_are_conflicts_and_change_nothing(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t2"))
    taken_thread = begin("u3", "t1")
    taken_turn = begin("u1", "t2", "add_user_message")
    taken_message = begin("u3", "t1", "add_user_message")
    taken_message["input"]["message"]["id"] = "m-u1"
    for body in [taken_thread, taken_turn, taken_message]:
        answer = await store.call("POST", "/turns", body)
        assert (answer.status, answer.body["code"]) == (409, "conflict"), body
    assert await store.item_ids("t1") == ["m-u1"]
    assert await store.item_ids("t2") == ["m-u2"]
    assert await state(store, "u1") == "running"
    assert await state(store, "u2") == "running"


async def test_a_message_to_an_unknown_or_foreign_thread_is_not_found(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    for caller, thread_id in [(store, "gone"), (store.of("bob"), "t1")]:
        for body in [begin("u2", thread_id, "add_user_message"), retry("u2", thread_id, "m-u1")]:
            assert (await caller.call("POST", "/turns", body)).status == 404
    assert await state(store, "u1") == "running"


async def test_a_message_that_names_another_thread_is_refused(store: Store) -> None:
    body = begin("u1", "t1")
    body["input"]["message"]["thread_id"] = "t2"
    answer = await store.call("POST", "/turns", body)
    assert (answer.status, answer.body["field"]) == (400, "$.input.message.thread_id")


@pytest.mark.parametrize("limit", [0, 1001])
async def test_the_history_limit_has_its_bounds(store: Store, limit: int) -> None:
    answer = await store.call("POST", "/turns", begin("u1", "t1", history_limit=limit))
    assert (answer.status, answer.body["field"]) == (400, "$.history_limit")
