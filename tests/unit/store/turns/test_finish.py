"""Finishing turns through the HTTP API."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from bobbin_protocol.store.turns import BeginTurn, FinishTurn
from bobbin_store.database import open_database
from bobbin_store.settings import Settings
from bobbin_store.turns.begin import begin as begin_turn
from bobbin_store.turns.finish import finish as finish_turn
from tests.unit.store.conftest import TOKEN, Store, assistant_message, begin, hidden_context
from tests.unit.store.leases import admin, blocked, chunk, held, journal_of

__all__ = ["admin"]


def outcome(*item_ids: str, state: str = "completed", thread_id: str = "t1", **fields: Any) -> dict[str, Any]:
    items = [assistant_message(item_id, thread_id) for item_id in item_ids]
    return {"state": state, "items": items, **fields}


async def test_an_outcome_is_stored_whole(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    body = outcome("a", "b", thread={"title": "Greetings"}, usage={"input_tokens": 3, "output_tokens": 5})
    body["items"].append(hidden_context("h", "t1"))
    finished = await store.post("/turns/u1/finish", body)
    assert (finished["turn_id"], finished["state"]) == ("u1", "completed")
    assert finished["thread"]["title"] == "Greetings"
    assert (await store.get("/threads/t1"))["thread"] == finished["thread"]
    assert await store.item_ids("t1") == ["m-u1", "a", "b", "h"]
    turn = await store.get("/turns/u1")
    assert (turn["state"], turn["usage"]) == ("completed", {"input_tokens": 3, "output_tokens": 5})
    assert turn["ended_at"] >= turn["started_at"]


async def test_a_suggested_title_names_a_thread_that_has_no_name_by_then(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t2"))
    await store.patch("/threads/t2", {"title": "The user's own"})
    first = await store.post("/turns/u1/finish", outcome(suggested_title="Suggested"))
    second = await store.post("/turns/u2/finish", outcome(suggested_title="Suggested"))
    assert first["thread"]["title"] == "Suggested"
    assert second["thread"]["title"] == "The user's own"


async def test_a_finish_without_anything_to_say_ends_the_turn(store: Store) -> None:
    begun = await store.post("/turns", begin("u1", "t1"))
    finished = await store.post("/turns/u1/finish", {"state": "cancelled"})
    assert finished == {"turn_id": "u1", "state": "cancelled", "thread": begun["thread"]}


async def test_items_added_meanwhile_are_replaced_where_they_stand_or_taken_back(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.items("t1", "tool", "draft")
    body = outcome("answer", "tool", removed_item_ids=["draft", "never-there"])
    body["items"][1] = assistant_message("tool", "t1", text="done")
    await store.post("/turns/u1/finish", body)
    assert await store.item_ids("t1") == ["m-u1", "tool", "answer"]
    assert (await store.get("/threads/t1/items/tool"))["content"][0]["text"] == "done"


async def test_an_item_both_written_and_removed_is_written(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", outcome("a", removed_item_ids=["a"]))
    assert await store.item_ids("t1") == ["m-u1", "a"]


async def test_a_repeated_finish_changes_nothing(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    body = outcome("a", thread={"title": "First"})
    first = await store.post("/turns/u1/finish", body)
    assert await store.post("/turns/u1/finish", body) == first
    await store.patch("/threads/t1", {"title": "By hand"})
    again = await store.post("/turns/u1/finish", outcome("a", "late", thread={"title": "Again"}))
    assert again["thread"]["title"] == "By hand"
    assert await store.item_ids("t1") == ["m-u1", "a"]


async def test_an_ended_turn_is_never_overwritten(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", outcome("a"))
    answer = await store.call("POST", "/turns/u1/finish", outcome("b", state="failed", error="late"))
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert "completed" in answer.body["detail"]
    turn = await store.get("/turns/u1")
    assert turn["state"] == "completed"
    assert "error" not in turn
    assert await store.item_ids("t1") == ["m-u1", "a"]


async def test_a_superseded_turn_stays_interrupted_but_what_it_said_is_kept(store: Store) -> None:
    """Another gateway ran it, and its user has read the answer."""
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    for _ in range(2):
        late = await store.post("/turns/u1/finish", outcome("late"))
        assert late["state"] == "interrupted"
    await store.post("/turns/u2/finish", outcome("a"))
    assert await store.item_ids("t1") == ["m-u1", "m-u2", "late", "a"]
    assert (await store.get("/turns/u1"))["ended_at"]


async def test_a_retry_drops_what_a_superseded_turn_says_late(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    retry = {"turn_id": "u2", "thread_id": "t1", "input": {"type": "retry_after_item", "item_id": "m-u1"}}
    await store.post("/turns", retry)
    assert (await store.post("/turns/u1/finish", outcome("late")))["state"] == "interrupted"
    assert await store.item_ids("t1") == ["m-u1"]


async def test_the_error_of_a_failed_turn_is_kept_for_people(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "failed", "error": "model said \x00 and died"})
    assert (await store.get("/turns/u1"))["error"] == "model said \ufffd and died"


async def test_the_next_turn_sees_the_outcome_of_the_last(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", outcome("a"))
    begun = await store.post("/turns", begin("u2", "t1", "add_user_message"))
    assert [item["id"] for item in begun["history"]] == ["m-u1", "a", "m-u2"]


async def test_a_finish_and_the_next_begin_at_once_lose_nothing(store: Store) -> None:
    """Either the answer stands before the next message, which then sees it, or behind it."""
    for number in range(8):
        thread_id, first, second = f"t{number}", f"u{number}", f"v{number}"
        await store.post("/turns", begin(first, thread_id))
        finished, begun = await asyncio.gather(
            store.post(f"/turns/{first}/finish", outcome("a", thread_id=thread_id)),
            store.post("/turns", begin(second, thread_id, "add_user_message")),
        )
        stored = await store.item_ids(thread_id)
        in_time = finished["state"] == "completed"
        assert stored == [f"m-{first}", *(["a", f"m-{second}"] if in_time else [f"m-{second}", "a"])]
        assert [item["id"] for item in begun["history"]] == stored[: 3 if in_time else 2]


async def test_items_of_another_thread_are_refused(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.thread("t2")
    for body, field in [
        (outcome("a", thread_id="t2"), "$.items[0].thread_id"),
        (
            {"state": "completed", "items": [assistant_message("a", "t1"), assistant_message("b", "t2")]},
            "$.items[1]",
        ),
        (outcome("a", "a"), "$.items"),
        ({"state": "completed", "items": [{"type": "nonsense"}]}, "$.items[0]"),
    ]:
        answer = await store.call("POST", "/turns/u1/finish", body)
        assert answer.status == 400, body
        assert answer.body["field"].startswith(field)
    assert (await store.get("/turns/u1"))["state"] == "running"
    assert await store.item_ids("t2") == []


@pytest.mark.parametrize("state", ["running", "unheard of", None])
async def test_a_turn_ends_only_in_a_state_of_ends(store: Store, state: str | None) -> None:
    await store.post("/turns", begin("u1", "t1"))
    answer = await store.call("POST", "/turns/u1/finish", {"state": state})
    assert (answer.status, answer.body["field"]) == (400, "$.state")


async def test_an_unknown_or_foreign_turn_or_one_of_a_deleted_thread_is_not_found(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    for caller, turn_id in [(store, "gone"), (store.of("bob"), "u1")]:
        assert (await caller.call("POST", f"/turns/{turn_id}/finish", outcome())).status == 404
        assert (await caller.call("GET", f"/turns/{turn_id}")).status == 404
    await store.delete("/threads/t1")
    assert (await store.call("POST", "/turns/u1/finish", outcome("a"))).status == 404


@pytest.mark.parametrize(("lease", "shown"), [("gw_a", "gw_b"), ("gw_a", None), (None, "gw_a")])
async def test_a_gateway_that_does_not_have_the_lease_cannot_finish_the_turn(
    store: Store, lease: str | None, shown: str | None
) -> None:
    await store.post("/turns", begin("u1", "t1", gateway_id=lease))
    body = outcome("a", gateway_id=shown, journal=[chunk(1)])
    answer = await store.call("POST", "/turns/u1/finish", body)
    assert (answer.status, answer.body["code"]) == (409, "lease_lost")
    assert await store.item_ids("t1") == ["m-u1"]
    assert (await store.get("/turns/u1"))["state"] == "running"
    await store.post("/turns/u1/finish", outcome("a", gateway_id=lease))
    assert await store.item_ids("t1") == ["m-u1", "a"]


async def test_a_turn_that_is_taken_over_while_its_finish_waits_is_the_others_to_finish(
    store: Store, admin: Any
) -> None:
    await store.post("/turns", begin("u1", "t1", gateway_id="gw_a"))
    async with held(admin, "UPDATE turns SET gateway_id = 'gw_b'"):
        body = outcome("a", gateway_id="gw_a", journal=[chunk(1)])
        request = asyncio.create_task(store.call("POST", "/turns/u1/finish", body))
        await blocked(admin)
    assert (await request).body["code"] == "lease_lost"
    assert await journal_of(admin, "u1") == ""
    await store.post("/turns/u1/finish", outcome("b", gateway_id="gw_b"))
    assert await store.item_ids("t1") == ["m-u1", "b"]


async def test_after_its_end_a_turn_is_under_nobodys_lease_and_any_gateway_is_told_how_it_ended(
    store: Store, admin: Any
) -> None:
    await store.post("/turns", begin("u1", "t1", gateway_id="gw_a"))
    first = await store.post("/turns/u1/finish", outcome("a", gateway_id="gw_a"))
    assert await admin.fetchval("SELECT gateway_id FROM turns") is None
    for gateway_id in ["gw_a", "gw_b"]:
        again = await store.post("/turns/u1/finish", outcome("b", gateway_id=gateway_id))
        assert again == first
        other = await store.call("POST", "/turns/u1/finish", outcome(state="failed", gateway_id=gateway_id))
        assert (other.status, other.body["code"]) == (409, "conflict")


async def test_what_the_journal_lacks_is_stored_with_the_end_and_how_many_events_there_were(
    store: Store, admin: Any
) -> None:
    """A chunk that it has already is not stored twice, nor is a repeated finish."""
    await store.post("/turns", begin("u1", "t1"))
    await admin.execute(
        "INSERT INTO journal (owner_id, turn_id, first, last, data) VALUES ('alice', 'u1', 1, 2, '1;2;')"
    )
    body = outcome("a", event_count=5, journal=[chunk(1, 2), chunk(3, 4), chunk(5)])
    for _ in range(2):
        await store.post("/turns/u1/finish", body)
    assert await journal_of(admin, "u1") == "1;2;3;4;5;"
    assert (await store.get("/turns/u1"))["event_count"] == 5
    late = outcome("a", event_count=9, journal=[chunk(6, 9)])
    await store.post("/turns/u1/finish", late)
    assert await journal_of(admin, "u1") == "1;2;3;4;5;"
    assert (await store.get("/turns/u1"))["event_count"] == 5


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("deserted", [None, False, True])
async def test_a_finish_says_whether_the_turn_was_deserted_or_leaves_it_open(
    store: Store, *, before: bool, deserted: bool | None
) -> None:
    again: dict[str, Any] = {"fingerprint": b"request", "resend_window_s": 60}
    await store.post("/turns", begin("u1", "t1", **again))
    if before:
        await store.post("/turns/u1/desert", {})
    await store.post("/turns/u1/finish", outcome("a", deserted=deserted))
    answer = await store.post("/turns", begin("u2", "t2", **again))
    known = before if deserted is None else deserted
    assert answer["type"] == ("joined" if known else "begun")


async def test_a_finish_is_one_statement(database_url: str) -> None:
    settings = Settings(store_token=TOKEN, store_pool_size=1)
    asked: list[str] = []
    async with open_database(database_url, settings) as database:
        async with database.session("alice") as session:
            connection: Any = session
            connection.add_query_logger(lambda logged: asked.append(logged.query))
        for turn_id, thread_id in [("u1", "t1"), ("u2", "t2")]:
            # A new connection looks up types when it first needs them: the second turn counts.
            body = begin(turn_id, thread_id, gateway_id="gw_a")
            await begin_turn(database, "alice", msgspec.convert(body, BeginTurn))
            await asyncio.sleep(0)  # the log comes a moment later
            asked.clear()
            body = outcome("a", thread_id=thread_id, gateway_id="gw_a", event_count=1)
            body["journal"] = [{"first": 1, "last": 1, "data": "MTs="}]
            await finish_turn(database, "alice", turn_id, msgspec.convert(body, FinishTurn))
        await asyncio.sleep(0)
    assert len(asked) == 1, asked
