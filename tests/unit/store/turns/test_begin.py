"""Beginning turns through the HTTP API."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from bobbin_protocol.store.turns import BeginTurn
from bobbin_store.database import open_database
from bobbin_store.settings import Settings
from bobbin_store.turns.begin import begin as begin_turn
from tests.unit.store.conftest import (
    TOKEN,
    Store,
    begin,
    file_attachment,
    hidden_context,
    retry,
    user_message,
)
from tests.unit.store.leases import admin, blocked, held

__all__ = ["admin"]


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


async def test_a_message_that_waited_for_the_thread_sees_all_that_came_before_it(
    store: Store, admin: Any
) -> None:
    """Whoever had the thread added an item and removed another; the message stands behind, and sees it so."""
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "old")
    async with held(admin, "UPDATE threads SET last_seq = 3, title = 'New' WHERE id = 't1'"):
        request = asyncio.create_task(store.post("/turns", begin("u2", "t1", "add_user_message")))
        await blocked(admin)
        await admin.execute(
            """
            INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
            VALUES ('alice', 't1', 'new', 3, 'end_of_turn', false, now(), '{"id": "new"}')
            """
        )
        await admin.execute("DELETE FROM items WHERE id = 'old'")
    begun = await request
    assert [item["id"] for item in begun["history"]] == ["m-u1", "new", "m-u2"]
    assert begun["thread"]["title"] == "New"
    assert await store.item_ids("t1") == ["m-u1", "new", "m-u2"]


async def test_a_cut_and_a_message_at_once_agree_on_what_came_first(store: Store) -> None:
    for number in range(10):
        thread_id = f"t{number}"
        await store.post("/turns", begin(f"u{number}", thread_id))
        await store.items(thread_id, "kept", "cut")
        _, begun = await asyncio.gather(
            store.delete(f"/threads/{thread_id}/items", after="kept"),
            store.post("/turns", begin(f"v{number}", thread_id, "add_user_message")),
        )
        seen = [item["id"] for item in begun["history"]]
        if f"m-v{number}" in await store.item_ids(thread_id):
            assert seen == [f"m-u{number}", "kept", f"m-v{number}"]
        else:
            assert seen == [f"m-u{number}", "kept", "cut", f"m-v{number}"]


async def test_a_message_that_rather_waits_is_told_which_turn_runs(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    polite = begin("u2", "t1", "add_user_message", if_running="refuse")
    answer = await store.call("POST", "/turns", polite)
    assert (answer.status, answer.body["code"], answer.body["turn_id"]) == (409, "turn_running", "u1")
    assert await store.item_ids("t1") == ["m-u1"]
    assert await state(store, "u1") == "running"
    await store.post("/turns/u1/finish", {"state": "completed"})
    assert (await store.post("/turns", polite))["turn_id"] == "u2"
    assert await store.post("/turns", polite) == await store.post("/turns", polite)


async def test_a_superseded_turn_is_in_nobodys_way(store: Store) -> None:
    """Even if its gateway has not said yet what became of it."""
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    await store.post("/turns/u2/finish", {"state": "completed"})
    await store.post("/turns", begin("u3", "t1", "add_user_message", if_running="refuse"))


async def test_of_messages_that_rather_wait_and_come_at_once_one_begins(store: Store, admin: Any) -> None:
    await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns/u0/finish", {"state": "completed"})
    async with held(admin, "SELECT FROM threads FOR UPDATE"):
        calls = [
            asyncio.create_task(
                store.call("POST", "/turns", begin(f"u{n}", "t1", "add_user_message", if_running="refuse"))
            )
            for n in range(1, 7)
        ]
        await blocked(admin)
    answers = await asyncio.gather(*calls)
    begun = [answer.body["turn_id"] for answer in answers if answer.status == 200]
    assert len(begun) == 1
    refused = [(answer.body["code"], answer.body["turn_id"]) for answer in answers if answer.status == 409]
    assert refused == [("turn_running", begun[0])] * 5
    assert await store.item_ids("t1") == ["m-u0", f"m-{begun[0]}"]


@pytest.mark.parametrize("if_running", ["refuse", "supersede"])
async def test_a_turn_that_ends_while_a_message_waits_is_not_in_its_way(
    store: Store, admin: Any, if_running: str
) -> None:
    await store.post("/turns", begin("u1", "t1"))
    async with held(admin, "UPDATE threads SET updated_at = now()"):
        body = begin("u2", "t1", "add_user_message", if_running=if_running)
        request = asyncio.create_task(store.post("/turns", body))
        await blocked(admin)
        await admin.execute("UPDATE turns SET state = 'completed', ended_at = now()")
    assert (await request)["turn_id"] == "u2"
    assert await state(store, "u1") == "completed"


@pytest.mark.parametrize("if_running", ["refuse", "supersede"])
async def test_a_turn_that_begins_while_a_message_waits_is_not_overlooked(
    store: Store, admin: Any, if_running: str
) -> None:
    await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns/u0/finish", {"state": "completed"})
    async with held(admin, "UPDATE threads SET updated_at = now()"):
        body = begin("u2", "t1", "add_user_message", if_running=if_running)
        request = asyncio.create_task(store.call("POST", "/turns", body))
        await blocked(admin)
        await admin.execute(
            """
            INSERT INTO turns (owner_id, id, thread_id, message_id, state)
            VALUES ('alice', 'u1', 't1', 'm-u0', 'running')
            """
        )
    answer = await request
    if if_running == "refuse":
        assert (answer.status, answer.body["turn_id"]) == (409, "u1")
    else:
        assert answer.status == 200
        assert await state(store, "u1") == "interrupted"


async def test_those_who_watch_are_told_of_each_turn_once(store: Store, admin: Any) -> None:
    for _ in range(2):
        await store.post("/turns", begin("u1", "t1"))
        await store.post("/turns", begin("u2", "t1", "add_user_message"))
        await store.call("POST", "/turns", begin("u3", "t1", "add_user_message", if_running="refuse"))
    rows = await admin.fetch("SELECT owner_id, thread_id, turn_id, event FROM changes ORDER BY id")
    assert [tuple(row) for row in rows] == [("alice", "t1", "u1", None), ("alice", "t1", "u2", None)]


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_turn_is_under_the_lease_of_the_gateway_that_began_it(
    store: Store, admin: Any, kind: str
) -> None:
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns", begin("u1", "t1", kind, gateway_id="gw_a"))
    assert await admin.fetchval("SELECT gateway_id FROM turns WHERE id = 'u1'") == "gw_a"


STATEMENTS = {"create_thread": 1, "add_user_message": 1, "retry_after_item": 5}


@pytest.mark.parametrize("kind", STATEMENTS)
async def test_a_begin_takes_as_few_round_trips_as_it_can(database_url: str, kind: str) -> None:
    """A retry takes the lock first, and tells what it removed: BEGIN, lock, cut, tell, COMMIT."""
    settings = Settings(store_token=TOKEN, store_pool_size=1)
    bodies = [begin("u0", "t0")]
    for n in (1, 2):  # a new connection looks up types when it first needs them
        known_by = {"fingerprint": "YQ==", "resend_window_s": 60, "gateway_id": "gw_a"}
        if kind == "retry_after_item":
            bodies.append(retry(f"u{n}", "t0", "m-u0", **known_by))
        else:
            bodies.append(begin(f"u{n}", f"t{n}" if kind == "create_thread" else "t0", kind, **known_by))
    asked: list[str] = []
    async with open_database(database_url, settings) as database:
        async with database.session("alice") as session:
            connection: Any = session
            connection.add_query_logger(lambda logged: asked.append(logged.query))
        for body in bodies:
            await asyncio.sleep(0)  # the log comes a moment later
            asked.clear()
            await begin_turn(database, "alice", msgspec.convert(body, BeginTurn))
        await asyncio.sleep(0)
    assert len(asked) == STATEMENTS[kind], asked


async def test_a_repeated_begin_works_on_a_thread_locked_meanwhile(store: Store) -> None:
    await store.post("/turns", begin("u0", "t1"))
    first = await store.post("/turns", begin("u1", "t1", "add_user_message"))
    await store.patch("/threads/t1", {"status": {"type": "locked"}})
    again = await store.post("/turns", begin("u1", "t1", "add_user_message"))
    assert again["history"] == first["history"]


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
    assert begun["message"]["attachments"][0]["thread_id"] == "t1"
    assert (await store.get("/attachments/c"))["thread_id"] == "t1"


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_message_waits_for_the_bytes_of_its_attachments(store: Store, kind: str) -> None:
    if kind == "add_user_message":
        await store.thread("t1")
    upload = {"url": "https://example.org/up", "method": "PUT", "headers": {}}
    await store.post("/attachments", file_attachment("a", upload_descriptor=upload))
    answer = await store.call("POST", "/turns", begin("u1", "t1", kind, attachment_ids=["a"]))
    assert (answer.status, answer.body["field"]) == (400, "$.input.attachment_ids")
    assert "a.txt" in answer.body["detail"]
    await store.post("/attachments/a/complete", None)
    begun = await store.post("/turns", begin("u1", "t1", kind, attachment_ids=["a"]))
    assert begun["message"]["attachments"] == [file_attachment("a", thread_id="t1")]


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_an_attachment_is_sent_in_one_thread_only(store: Store, kind: str) -> None:
    await store.post("/attachments", file_attachment("a"))
    await store.post("/turns", begin("u1", "t1", attachment_ids=["a"]))
    if kind == "add_user_message":
        await store.thread("t2")
    answer = await store.call("POST", "/turns", begin("u2", "t2", kind, attachment_ids=["a"]))
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert "a.txt" in answer.body["detail"]


async def test_a_request_with_an_attachment_that_comes_again_joins_its_turn(store: Store) -> None:
    """It names another thread then, since its own was made by the one that came before."""
    await store.post("/attachments", file_attachment("a"))
    key: dict[str, Any] = {"idempotency_key": "k", "attachment_ids": ["a"]}
    await store.post("/turns", begin("u1", "t1", **key))
    joined = await store.post("/turns", begin("u2", "t2", **key))
    assert (joined["type"], joined["turn_id"], joined["thread_id"]) == ("joined", "u1", "t1")


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
