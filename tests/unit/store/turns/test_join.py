"""Requests that come again: a message sent twice is heard once, and one said twice is heard twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.store.conftest import Answer, Store, assistant_message, begin, retry
from tests.unit.store.leases import admin, blocked, held

__all__ = ["admin"]

REQUEST = b"\x00a hash of the request\xff"
SENT_AGAIN: dict[str, Any] = {"fingerprint": REQUEST, "resend_window_s": 60}
KEYED: dict[str, Any] = {"fingerprint": REQUEST, "idempotency_key": "key"}


def joined(turn_id: str, thread_id: str, state: str = "running") -> dict[str, Any]:
    return {"type": "joined", "turn_id": turn_id, "thread_id": thread_id, "state": state}


async def end(store: Store, turn_id: str, state: str, *items: dict[str, Any], **fields: Any) -> None:
    await store.post(f"/turns/{turn_id}/finish", {"state": state, "items": list(items), **fields})


async def cancel_if_deserted(store: Store, turn_id: str) -> bool:
    record = await store.post(f"/turns/{turn_id}/cancel", {"only_if_deserted": True})
    return record.get("cancel_requested", False)


async def state(store: Store, turn_id: str) -> str | None:
    answer: Answer = await store.call("GET", f"/turns/{turn_id}")
    return answer.body["state"] if answer.status == 200 else None


# With a key


@pytest.mark.parametrize("ended", [None, "completed", "failed", "cancelled", "interrupted"])
async def test_a_key_that_came_before_joins_its_turn_whatever_became_of_it(
    store: Store, ended: str | None
) -> None:
    await store.post("/turns", begin("u1", "t1", **KEYED))
    if ended is not None:
        await end(store, "u1", ended)
    for _ in range(2):
        answer = await store.post("/turns", begin("u2", "t2", **KEYED))
        assert answer == joined("u1", "t1", ended or "running")
    assert await store.item_ids("t1") == ["m-u1"]
    assert (await store.call("GET", "/threads/t2")).status == 404
    assert await state(store, "u2") is None


async def test_a_message_and_a_retry_with_their_keys_join_too(store: Store) -> None:
    await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns", begin("u1", "t1", "add_user_message", **KEYED))
    again = begin("u2", "t1", "add_user_message", **KEYED)
    assert await store.post("/turns", again) == joined("u1", "t1")
    await store.items("t1", "kept")
    other_key = {"fingerprint": REQUEST, "idempotency_key": "other"}
    await store.post("/turns", retry("u3", "t1", "m-u1", **other_key))
    await store.items("t1", "new-answer")
    assert await store.post("/turns", retry("u4", "t1", "m-u1", **other_key)) == joined("u3", "t1")
    assert await store.item_ids("t1") == ["m-u0", "m-u1", "new-answer"]


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
@pytest.mark.parametrize("fingerprint", [b"another request", None])
async def test_a_key_that_came_with_another_request_is_refused(
    store: Store, kind: str, fingerprint: bytes | None
) -> None:
    await store.post("/turns", begin("u0", "t0"))
    await store.post("/turns", begin("u1", "t1", **KEYED))
    fields = KEYED | {"fingerprint": fingerprint}
    answer = await store.call("POST", "/turns", begin("u2", "t2" if "c" in kind[0] else "t0", kind, **fields))
    assert (answer.status, answer.body["code"]) == (422, "key_reused")
    assert await state(store, "u2") is None
    assert await store.item_ids("t0") == ["m-u0"]


async def test_a_key_is_its_owners_own(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **KEYED))
    answer = await store.of("bob").post("/turns", begin("u2", "t2", **KEYED))
    assert answer["type"] == "begun"


@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_a_join_works_on_a_thread_that_takes_no_messages_by_now(store: Store, status: str) -> None:
    await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns", begin("u1", "t1", "add_user_message", **KEYED))
    await store.post("/turns/u1/desert", {})
    await store.patch("/threads/t1", {"status": {"type": status}})
    again = begin("u2", "t1", "add_user_message", **KEYED)
    assert await store.post("/turns", again) == joined("u1", "t1")
    await store.post("/turns/u1/desert", {"reader_id": "u2"})
    again = begin("u3", "t1", "add_user_message", **SENT_AGAIN)
    assert await store.post("/turns", again) == joined("u1", "t1")
    answer = await store.call("POST", "/turns", begin("u4", "t1", "add_user_message", **SENT_AGAIN))
    assert (answer.status, answer.body["code"]) == (409, f"thread_{status}")


async def test_the_key_of_a_deleted_thread_is_free_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **KEYED))
    await store.delete("/threads/t1")
    assert (await store.post("/turns", begin("u2", "t2", **KEYED)))["type"] == "begun"
    await store.delete("/threads/t2")
    answer = await store.call("POST", "/turns", begin("u3", "t2", "add_user_message", **KEYED))
    assert answer.status == 404


@pytest.mark.parametrize("kind", ["create_thread", "add_user_message", "retry_after_item"])
async def test_of_requests_with_one_key_that_come_at_once_one_begins_and_all_others_join_it(
    store: Store, admin: Any, kind: str
) -> None:
    """They wait for each other in one order or another: on the thread, or on the key."""
    await store.post("/turns", begin("u0", "t0"))
    turns = [f"u{number}" for number in range(1, 7)]
    bodies = {
        "create_thread": lambda turn: begin(turn, f"t-{turn}", **KEYED),
        "add_user_message": lambda turn: begin(turn, "t0", "add_user_message", **KEYED),
        "retry_after_item": lambda turn: retry(turn, "t0", "m-u0", **KEYED),
    }
    async with held(admin, "LOCK TABLE turns IN SHARE MODE"):
        requests = [asyncio.create_task(store.post("/turns", bodies[kind](turn))) for turn in turns]
        await blocked(admin)
        await asyncio.sleep(0.05)  # more of them at the lock make the test harder, none is needed
    answers = await asyncio.gather(*requests)
    begun = [answer for answer in answers if answer["type"] == "begun"]
    assert len(begun) == 1
    expected = joined(begun[0]["turn_id"], begun[0]["thread"]["id"])
    assert [answer for answer in answers if answer["type"] == "joined"] == [expected] * 5
    messages = [row["id"] for row in await admin.fetch("SELECT id FROM items WHERE id <> 'm-u0'")]
    assert messages == ([] if kind == "retry_after_item" else [f"m-{begun[0]['turn_id']}"])


INSERT = """
INSERT INTO turns (owner_id, id, thread_id, message_id, state, ended_at, idempotency_key, fingerprint)
VALUES ('alice', 'u1', 't1', 'm-u0', 'completed', now(), 'key', $1)
"""


@pytest.mark.parametrize("committed", [True, False])
async def test_a_request_waits_for_the_other_one_with_its_key(
    store: Store, admin: Any, *, committed: bool
) -> None:
    """Then it joins it; or begins, if nothing came of the other."""
    await store.post("/turns", begin("u0", "t1"))
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute(INSERT, REQUEST)
    request = asyncio.create_task(store.post("/turns", begin("u2", "t2", **KEYED)))
    await blocked(admin)
    await (transaction.commit() if committed else transaction.rollback())
    answer = await request
    assert answer["type"] == ("joined" if committed else "begun")
    assert answer["turn_id"] == ("u1" if committed else "u2")


# Without a key


async def test_a_request_that_comes_again_joins_the_turn_that_lost_its_reader(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    assert await store.post("/turns", begin("u2", "t2", **SENT_AGAIN)) == joined("u1", "t1")
    assert not await cancel_if_deserted(store, "u1")
    assert (await store.call("GET", "/threads/t2")).status == 404
    await store.post("/turns/u1/desert", {"reader_id": "u2"})
    assert await store.post("/turns", begin("u3", "t3", **SENT_AGAIN)) == joined("u1", "t1")
    assert await store.item_ids("t1") == ["m-u1"]


async def test_a_begin_that_joined_joins_again_when_it_is_repeated(store: Store) -> None:
    """Its answer may have been lost on the way; nobody else's begin does."""
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    for _ in range(3):
        assert await store.post("/turns", begin("u2", "t2", **SENT_AGAIN)) == joined("u1", "t1")
    assert (await store.post("/turns", begin("u3", "t3", **SENT_AGAIN)))["type"] == "begun"


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": REQUEST, "resend_window_s": 0},
        {"fingerprint": b"another request", "resend_window_s": 60},
        {"resend_window_s": 60},
        {**SENT_AGAIN, "idempotency_key": "key"},
    ],
)
async def test_what_is_not_known_for_the_same_request_is_a_new_one(
    store: Store, fields: dict[str, Any]
) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    assert (await store.post("/turns", begin("u2", "t2", **fields)))["type"] == "begun"


async def test_other_owners_requests_are_their_own(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    assert (await store.of("bob").post("/turns", begin("u2", "t2", **SENT_AGAIN)))["type"] == "begun"


async def test_who_says_yes_twice_is_heard_twice(store: Store) -> None:
    """The answer to the first was read, to its end or at least until the second was said."""
    await store.post("/turns", begin("u0", "t1"))
    yes = {"kind": "add_user_message", **SENT_AGAIN}
    await store.post("/turns", begin("u1", "t1", **yes))
    await end(store, "u1", "completed")
    for turn_id in ["u2", "u3"]:
        assert (await store.post("/turns", begin(turn_id, "t1", **yes)))["type"] == "begun"
    assert await store.item_ids("t1") == ["m-u0", "m-u1", "m-u2", "m-u3"]


async def test_who_came_back_by_the_turns_id_and_says_the_same_again_means_it(store: Store) -> None:
    """Also if the turn has ended meanwhile, and if their loss is noticed only after they came back."""
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    await store.post("/turns/u1/join", {"reader_id": "r1"})
    await store.post("/turns/u1/desert", {})
    assert not await cancel_if_deserted(store, "u1")
    assert (await store.post("/turns", begin("u2", "t2", **SENT_AGAIN)))["type"] == "begun"
    await end(store, "u2", "completed", deserted=True)
    await store.post("/turns/u2/join", {"reader_id": "r2"})
    assert (await store.post("/turns", begin("u3", "t3", **SENT_AGAIN)))["type"] == "begun"


async def test_after_the_window_the_same_request_is_heard_again(store: Store, admin: Any) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    await admin.execute("UPDATE turns SET deserted_at = now() - interval '61 seconds'")
    assert (await store.post("/turns", begin("u2", "t2", **SENT_AGAIN)))["type"] == "begun"


@pytest.mark.parametrize("ended", ["completed", "failed", "interrupted"])
@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_turn_that_ended_by_itself_without_its_reader_is_joined_once(
    store: Store, kind: str, ended: str
) -> None:
    """Who has read its end and then says the same again means it."""
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns", begin("u1", "t1", kind, **SENT_AGAIN))
    await end(store, "u1", ended, deserted=True)
    thread_id = "t1" if kind == "add_user_message" else "t2"
    assert await store.post("/turns", begin("u2", thread_id, kind, **SENT_AGAIN)) == joined("u1", "t1", ended)
    thread_id = "t1" if kind == "add_user_message" else "t3"
    assert (await store.post("/turns", begin("u3", thread_id, kind, **SENT_AGAIN)))["type"] == "begun"


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("kind", ["create_thread", "add_user_message"])
async def test_a_turn_that_was_cancelled_for_want_of_readers_is_answered_again(
    store: Store, kind: str, *, stored: bool
) -> None:
    """Also while its gateway has yet to stop it. It is answered once; a repeated begin is told the same."""
    if kind == "add_user_message":
        await store.post("/turns", begin("u0", "t1"))
    before = await store.item_ids("t1") if kind == "add_user_message" else []
    await store.post("/turns", begin("u1", "t1", kind, **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    assert await cancel_if_deserted(store, "u1")
    if stored:
        await end(store, "u1", "cancelled", assistant_message("half", "t1"))
    thread_id = "t1" if kind == "add_user_message" else "t2"
    body = begin("u2", thread_id, kind, if_running="refuse", **SENT_AGAIN)
    begun = await store.post("/turns", body)
    assert (begun["type"], begun["turn_id"], begun["thread"]["id"]) == ("begun", "u2", "t1")
    assert [item["id"] for item in begun["history"]] == [*before, "m-u1"]
    assert begun["message"]["id"] == "m-u1"
    assert await store.item_ids("t1") == [*before, "m-u1"]
    assert await state(store, "u1") == ("cancelled" if stored else "interrupted")
    assert await store.post("/turns", body) == begun
    if not stored:
        await end(store, "u1", "cancelled", assistant_message("half", "t1"))
        assert await store.item_ids("t1") == [*before, "m-u1"]
    thread_id = "t1" if kind == "add_user_message" else "t3"
    third = await store.post("/turns", begin("u3", thread_id, kind, **SENT_AGAIN))
    assert third["message"]["id"] == "m-u3"


async def test_a_cancelled_turn_of_a_thread_locked_since_is_not_answered_again(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await end(store, "u1", "cancelled", deserted=True)
    await store.patch("/threads/t1", {"status": {"type": "locked"}})
    answer = await store.call("POST", "/turns", begin("u2", "t2", **SENT_AGAIN))
    assert (answer.status, answer.body["code"]) == (409, "thread_locked")
    await store.patch("/threads/t1", {"status": {"type": "active"}})
    assert (await store.post("/turns", begin("u3", "t3", **SENT_AGAIN)))["thread"]["id"] == "t1"


async def test_a_cancelled_turn_whose_message_is_gone_is_a_new_request(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await end(store, "u1", "cancelled", deserted=True)
    await store.delete("/threads/t1/items/m-u1")
    assert (await store.post("/turns", begin("u2", "t2", **SENT_AGAIN)))["thread"]["id"] == "t2"


@pytest.mark.parametrize("ended", ["completed", "cancelled"])
async def test_who_went_on_in_the_thread_and_then_says_the_same_again_means_it(
    store: Store, ended: str
) -> None:
    await store.post("/turns", begin("u0", "t1"))
    await store.post("/turns", begin("u1", "t1", "add_user_message", **SENT_AGAIN))
    await end(store, "u1", ended, deserted=True)
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    await end(store, "u2", "completed")
    third = await store.post("/turns", begin("u3", "t1", "add_user_message", **SENT_AGAIN))
    assert third["message"]["id"] == "m-u3"
    assert await store.item_ids("t1") == ["m-u0", "m-u1", "m-u2", "m-u3"]


@pytest.mark.parametrize("ended", ["completed", "cancelled"])
async def test_nothing_is_lost_of_a_thread_that_went_on_when_its_first_message_comes_again(
    store: Store, ended: str
) -> None:
    """A turn that ended by itself can be joined; to answer a cancelled one would remove what followed."""
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await end(store, "u1", ended, deserted=True)
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    answer = await store.post("/turns", begin("u3", "t3", **SENT_AGAIN))
    assert answer["type"] == ("joined" if ended == "completed" else "begun")
    assert await store.item_ids("t1") == ["m-u1", "m-u2"]


async def test_a_retry_that_comes_again_joins_and_removes_nothing(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", retry("u2", "t1", "m-u1", **SENT_AGAIN))
    await store.items("t1", "answer")
    await store.post("/turns/u2/desert", {})
    assert await store.post("/turns", retry("u3", "t1", "m-u1", **SENT_AGAIN)) == joined("u2", "t1")
    assert await store.item_ids("t1") == ["m-u1", "answer"]


async def test_a_message_that_comes_again_is_not_in_its_own_way(store: Store) -> None:
    """Its earlier turn runs, and another would be refused."""
    await store.post("/turns", begin("u0", "t1"))
    await end(store, "u0", "completed")
    body = {"kind": "add_user_message", "if_running": "refuse", **SENT_AGAIN}
    await store.post("/turns", begin("u1", "t1", **body))
    answer = await store.call("POST", "/turns", begin("u2", "t1", **body))
    assert (answer.status, answer.body["code"], answer.body["turn_id"]) == (409, "turn_running", "u1")
    await store.post("/turns/u1/desert", {})
    assert await store.post("/turns", begin("u2", "t1", **body)) == joined("u1", "t1")


@pytest.mark.parametrize("first", ["cancel", "request"])
async def test_a_reader_who_comes_back_at_the_last_moment_either_joins_or_is_answered_again(
    store: Store, admin: Any, first: str
) -> None:
    """The turn is never joined and cancelled as deserted, both, whichever gets to it first."""
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await store.post("/turns/u1/desert", {})
    tasks: dict[str, asyncio.Task[Any]] = {}
    calls = {
        "cancel": lambda: cancel_if_deserted(store, "u1"),
        "request": lambda: store.post("/turns", begin("u2", "t2", **SENT_AGAIN)),
    }
    async with held(admin, "SELECT FROM turns FOR UPDATE"):
        for name in sorted(calls, key=lambda name: name != first):
            tasks[name] = asyncio.create_task(calls[name]())
            await blocked(admin)
    cancelled, answer = await tasks["cancel"], await tasks["request"]
    if cancelled:
        assert (answer["type"], answer["turn_id"], answer["message"]["id"]) == ("begun", "u2", "m-u1")
    else:
        assert answer == joined("u1", "t1")
    assert cancelled == (first == "cancel")


async def test_two_that_answer_a_cancelled_turn_again_at_once_do_it_once(store: Store, admin: Any) -> None:
    await store.post("/turns", begin("u1", "t1", **SENT_AGAIN))
    await end(store, "u1", "cancelled", deserted=True)
    async with held(admin, "SELECT FROM threads FOR UPDATE"):
        requests = [
            asyncio.create_task(store.post("/turns", begin(f"u{n}", f"t{n}", **SENT_AGAIN))) for n in (2, 3)
        ]
        await blocked(admin)
    answers = await asyncio.gather(*requests)
    assert sorted(answer["thread"]["id"] == "t1" for answer in answers) == [False, True]
