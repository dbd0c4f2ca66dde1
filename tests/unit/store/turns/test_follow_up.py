"""Turns that go on from a call's output, from answers or from an action, through the HTTP API."""

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
from tests.unit.store.conftest import (
    TOKEN,
    Store,
    assistant_message,
    begin,
    client_tool_call,
    follow_up,
    hidden_context,
    questions,
    retry,
    widget,
)
from tests.unit.store.leases import admin, blocked, claim, held, lapse, settled

__all__ = ["admin"]

OUTPUT, ANSWERS, ACTION = "add_client_tool_output", "add_structured_input", "handle_action"
ANSWERED = {"status": "answered", "answers": {"one": {"values": ["red"]}}}


async def asked(store: Store, *items: dict[str, Any], thread_id: str = "t1") -> None:
    """A thread with a message, whose turn has ended with these items."""
    await store.post("/turns", begin("u0", thread_id))
    await store.post("/turns/u0/finish", {"state": "completed", "items": list(items)})


async def item(store: Store, item_id: str, thread_id: str = "t1") -> Any:
    return await store.get(f"/threads/{thread_id}/items/{item_id}")


async def state(store: Store, turn_id: str) -> str:
    return (await store.get(f"/turns/{turn_id}"))["state"]


SUBJECTS = {
    OUTPUT: (client_tool_call("subject", "t1"), {"result": {"seen": [1, None]}}),
    ANSWERS: (questions("subject", "t1"), {"item_id": "subject", "submission": ANSWERED}),
    ACTION: (widget("subject", "t1"), {"item_id": "subject"}),
}
"""What a turn of each kind goes on from, and what its begin says."""

KINDS = pytest.mark.parametrize("kind", SUBJECTS)


def follows(turn_id: str, kind: str, **fields: Any) -> dict[str, Any]:
    return follow_up(turn_id, "t1", kind, **SUBJECTS[kind][1], **fields)


async def changes(admin: Any) -> list[tuple[str | None, dict[str, Any] | None]]:
    """What those who watch were told, in order."""
    rows = await admin.fetch(
        "SELECT turn_id, event FROM changes WHERE turn_id IS DISTINCT FROM 'u0' ORDER BY id"
    )
    return [
        (row["turn_id"], None if row["event"] is None else msgspec.json.decode(row["event"])) for row in rows
    ]


async def test_an_output_completes_the_call_and_the_turn_goes_on_from_it(store: Store, admin: Any) -> None:
    await asked(store, assistant_message("said", "t1"), client_tool_call("call", "t1"))
    begun = await store.post("/turns", follow_up("u1", "t1", OUTPUT, result={"seen": [1, None]}))
    completed = client_tool_call("call", "t1", status="completed", output={"seen": [1, None]})
    assert (begun["type"], begun.get("message"), begun["subject"]) == ("begun", None, completed)
    assert [one["id"] for one in begun["history"]] == ["m-u0", "said", "call"]
    assert begun["history"][-1] == completed == await item(store, "call")
    assert await state(store, "u1") == "running"
    replaced = {"type": "thread.item.replaced", "item": completed}
    assert await changes(admin) == [(None, replaced), ("u1", None)]


@pytest.mark.parametrize("result", [None, False, 0, "", [], "\0", "x" * 100_000, {"deep": [[[{}]]]}])
async def test_an_output_may_be_any_json(store: Store, result: Any) -> None:
    await asked(store, client_tool_call("call", "t1", output="old"))
    begun = await store.post("/turns", follow_up("u1", "t1", OUTPUT, result=result))
    stored = await item(store, "call")
    assert stored == begun["subject"]
    assert stored.get("output") == result
    assert ("output" in stored) == (result is not None)


async def test_other_calls_that_wait_are_removed_and_completed_ones_stay(store: Store, admin: Any) -> None:
    await asked(
        store,
        client_tool_call("dangling", "t1"),
        client_tool_call("done", "t1", status="completed", output=1),
        client_tool_call("lost", "t1"),
        assistant_message("said", "t1"),
        client_tool_call("call", "t1"),
        hidden_context("hidden", "t1"),
    )
    begun = await store.post("/turns", follow_up("u1", "t1", OUTPUT, result=1))
    left = ["m-u0", "done", "said", "call", "hidden"]
    assert [one["id"] for one in begun["history"]] == left == await store.item_ids("t1")
    told = [event and (event["type"], event.get("item_id")) for _, event in await changes(admin)]
    removed = "thread.item.removed"
    assert told == [("thread.item.replaced", None), (removed, "lost"), (removed, "dangling"), None]


@pytest.mark.parametrize(
    "items",
    [
        [],
        [assistant_message("a", "t1")],
        [client_tool_call("call", "t1"), assistant_message("a", "t1")],
        [client_tool_call("call", "t1", status="completed")],
        [client_tool_call("call", "t1"), client_tool_call("call2", "t1", status="completed")],
    ],
    ids=["no items", "no call", "not the last", "completed", "an earlier one"],
)
async def test_without_a_call_that_waits_an_output_changes_nothing(
    store: Store, items: list[dict[str, Any]], admin: Any
) -> None:
    await asked(store, *items)
    before = await store.get("/threads/t1/items", order="asc")
    answer = await store.call("POST", "/turns", follow_up("u1", "t1", OUTPUT, result=1))
    assert (answer.status, answer.body["code"]) == (409, "no_pending_call")
    assert await store.get("/threads/t1/items", order="asc") == before
    assert (await store.call("GET", "/turns/u1")).status == 404
    assert await changes(admin) == []


async def test_answers_are_put_into_the_questions_and_all_else_stays_as_it_was(
    store: Store, admin: Any
) -> None:
    await asked(store, questions("q", "t1", novelty={"a": None}), assistant_message("after", "t1"))
    answers = {
        "one": {"values": ["red", "blue"]},
        "many": {"values": ["red", "blue"]},
        "free": {"values": [], "skipped": False},
        "unknown": {"values": ["x"]},
    }
    submission = {"status": "answered", "answers": answers}
    begun = await store.post("/turns", follow_up("u1", "t1", ANSWERS, item_id="q", submission=submission))
    expected = questions("q", "t1", status="answered", novelty={"a": None})
    for question, values in zip(expected["inputs"], [["red"], ["red", "blue"], []], strict=True):
        question["answer"] = {"values": values, "skipped": not values}
    assert begun["subject"] == expected == await item(store, "q")
    assert begun["history"] == [begun["history"][0], expected, assistant_message("after", "t1")]
    assert await changes(admin) == [("u1", None)], "the turn itself tells of the answers"
    assert (await store.get("/turns/u1/items"))["items"] == [expected]


async def test_skipping_skips_every_question_whatever_the_answers(store: Store) -> None:
    await asked(store, questions("q", "t1"))
    submission = {"status": "skipped", "answers": {"one": {"values": ["red"]}}}
    begun = await store.post("/turns", follow_up("u1", "t1", ANSWERS, item_id="q", submission=submission))
    assert begun["subject"]["status"] == "skipped"
    assert all(question["answer"]["skipped"] for question in begun["subject"]["inputs"])


async def test_questions_are_answered_once(store: Store) -> None:
    await asked(store, questions("q", "t1"))
    await store.post("/turns", follow_up("u1", "t1", ANSWERS, item_id="q", submission=ANSWERED))
    await store.post("/turns/u1/finish", {"state": "completed"})
    answered = await item(store, "q")
    again = follow_up("u2", "t1", ANSWERS, item_id="q", submission={"status": "skipped"})
    answer = await store.call("POST", "/turns", again)
    assert (answer.status, answer.body["code"]) == (409, "not_pending")
    assert await item(store, "q") == answered


async def test_an_action_changes_nothing_and_has_its_sender(store: Store, admin: Any) -> None:
    await asked(store, widget("w", "t1"), assistant_message("after", "t1"))
    before = await store.get("/threads/t1/items", order="asc")
    begun = await store.post("/turns", follow_up("u1", "t1", ACTION, item_id="w"))
    assert begun["subject"] == widget("w", "t1")
    assert [one["id"] for one in begun["history"]] == ["m-u0", "w", "after"]
    assert await store.get("/threads/t1/items", order="asc") == before | {"running_turn_id": "u1"}
    await store.post("/turns/u1/finish", {"state": "completed"})
    begun = await store.post("/turns", follow_up("u2", "t1", ACTION))
    assert "subject" not in begun
    assert await changes(admin) == [("u1", None), ("u2", None)]


async def test_a_page_may_act_in_an_empty_thread(store: Store) -> None:
    await store.thread("t1")
    begun = await store.post("/turns", follow_up("u1", "t1", ACTION))
    assert (begun["history"], begun.get("message")) == ([], None)
    assert await store.post("/turns", follow_up("u1", "t1", ACTION)) == begun
    result = await store.get("/turns/u1/items")
    assert (result["items"], result["created_thread"]) == ([], False)


@pytest.mark.parametrize(
    ("kind", "item_id", "status", "code"),
    [
        (ANSWERS, "gone", 404, "not_found"),
        (ANSWERS, "said", 400, "invalid_request"),
        (ANSWERS, "elsewhere", 404, "not_found"),
        (ACTION, "gone", 404, "not_found"),
        (ACTION, "said", 400, "wrong_sender"),
        (ACTION, "elsewhere", 404, "not_found"),
    ],
)
async def test_an_item_that_does_not_fit_is_named_and_nothing_happens(
    store: Store, kind: str, item_id: str, status: int, code: str
) -> None:
    await asked(store, assistant_message("said", "t1"))
    await store.thread("t2")
    other = questions("elsewhere", "t2") if kind == ANSWERS else widget("elsewhere", "t2")
    await store.post("/threads/t2/items", other)
    fields = {"submission": ANSWERED} if kind == ANSWERS else {}
    answer = await store.call("POST", "/turns", follow_up("u1", "t1", kind, item_id=item_id, **fields))
    assert (answer.status, answer.body["code"], answer.body["field"]) == (status, code, "$.input.item_id")
    assert (await store.call("GET", "/turns/u1")).status == 404


@KINDS
async def test_an_unknown_or_foreign_thread_is_not_found(store: Store, kind: str) -> None:
    await asked(store, SUBJECTS[kind][0])
    assert (await store.of("bob").call("POST", "/turns", follows("u1", kind))).status == 404
    gone = follow_up("u1", "gone", kind, **SUBJECTS[kind][1])
    assert (await store.call("POST", "/turns", gone)).status == 404
    assert await item(store, "subject") == SUBJECTS[kind][0]


@KINDS
@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_locked_and_closed_threads_take_nothing_but_actions(
    store: Store, kind: str, status: str
) -> None:
    await asked(store, SUBJECTS[kind][0])
    await store.patch("/threads/t1", {"status": {"type": status}})
    answer = await store.call("POST", "/turns", follows("u1", kind))
    if kind == ACTION:
        assert (answer.status, answer.body["thread"]["status"]["type"]) == (200, status)
    else:
        assert (answer.status, answer.body["code"]) == (409, f"thread_{status}")
        assert await item(store, "subject") == SUBJECTS[kind][0]


@KINDS
async def test_a_repeated_begin_gives_the_same_answer_and_changes_nothing(
    store: Store, kind: str, admin: Any
) -> None:
    await asked(store, assistant_message("said", "t1"), client_tool_call("old", "t1"), SUBJECTS[kind][0])
    first = await store.post("/turns", follows("u1", kind))
    told = await changes(admin)
    await store.patch("/threads/t1", {"status": {"type": "locked"}})
    await store.patch("/threads/t1", {"status": {"type": "active"}})
    await store.items("t1", "later")
    assert await store.post("/turns", follows("u1", kind)) == first
    assert await store.post("/turns", follows("u1", kind, if_running="refuse")) == first
    assert (await changes(admin))[: len(told)] == told
    assert await state(store, "u1") == "running"


@KINDS
async def test_a_turn_that_runs_is_superseded_or_waited_for(store: Store, kind: str) -> None:
    await asked(store, SUBJECTS[kind][0])
    await store.post("/turns", follow_up("busy", "t1", ACTION))
    answer = await store.call("POST", "/turns", follows("u1", kind, if_running="refuse"))
    assert (answer.status, answer.body["code"], answer.body["turn_id"]) == (409, "turn_running", "busy")
    assert await item(store, "subject") == SUBJECTS[kind][0]
    await store.post("/turns", follows("u1", kind))
    assert (await state(store, "busy"), await state(store, "u1")) == ("interrupted", "running")
    late = {"state": "completed", "items": [assistant_message("late", "t1")]}
    await store.post("/turns/busy/finish", late)
    assert (await store.item_ids("t1"))[-1] == "late"


async def test_an_output_for_a_call_that_is_not_stored_yet_waits_for_the_turn_that_makes_it(
    store: Store,
) -> None:
    await store.post("/turns", begin("u0", "t1"))
    early = follow_up("u1", "t1", OUTPUT, result=1, if_running="refuse")
    assert (await store.call("POST", "/turns", early)).body["code"] == "turn_running"
    await store.post("/turns/u0/finish", {"state": "completed", "items": [client_tool_call("call", "t1")]})
    assert (await store.post("/turns", early))["subject"]["status"] == "completed"


@KINDS
async def test_of_two_that_come_at_once_one_wins(store: Store, kind: str, admin: Any) -> None:
    await asked(store, SUBJECTS[kind][0])
    async with held(admin, "SELECT FROM threads FOR UPDATE"):
        calls = [
            asyncio.create_task(store.call("POST", "/turns", follows(f"u{n}", kind, if_running="refuse")))
            for n in (1, 2)
        ]
        await blocked(admin)
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [200, 409]
    won = next(answer for answer in answers if answer.status == 200)
    lost = next(answer for answer in answers if answer.status == 409)
    assert (lost.body["code"], lost.body["turn_id"]) == ("turn_running", won.body["turn_id"])
    await store.post(f"/turns/{won.body['turn_id']}/finish", {"state": "completed"})
    again = await store.call("POST", "/turns", follows("u3", kind))
    codes = {OUTPUT: "no_pending_call", ANSWERS: "not_pending", ACTION: None}
    assert again.body.get("code") == codes[kind]


async def test_of_two_outputs_that_supersede_the_second_finds_no_call(store: Store) -> None:
    await asked(store, client_tool_call("call", "t1"))
    bodies = [follow_up(f"u{n}", "t1", OUTPUT, result=n) for n in (1, 2)]
    answers = await asyncio.gather(*(store.call("POST", "/turns", body) for body in bodies))
    won = [answer.body["turn_id"] for answer in answers if answer.status == 200]
    assert [answer.body["code"] for answer in answers if answer.status == 409] == ["no_pending_call"]
    assert (await item(store, "call"))["output"] == int(won[0][1:])
    assert await state(store, won[0]) == "running"


@KINDS
async def test_an_idempotency_key_joins_the_turn_that_came_with_it(store: Store, kind: str) -> None:
    await asked(store, SUBJECTS[kind][0])
    known = {"idempotency_key": "k", "fingerprint": b"a"}
    await store.post("/turns", follows("u1", kind, **known))
    for n in (2, 3):
        joined = await store.post("/turns", follows(f"u{n}", kind, **known))
        assert joined == {"type": "joined", "turn_id": "u1", "thread_id": "t1", "state": "running"}
    await store.post("/turns/u1/finish", {"state": "completed"})
    assert (await store.post("/turns", follows("u4", kind, **known)))["state"] == "completed"
    reused = await store.call("POST", "/turns", follows("u5", kind, **known | {"fingerprint": b"b"}))
    assert (reused.status, reused.body["code"]) == (422, "key_reused")


RESENT = {"fingerprint": b"a", "resend_window_s": 60, "if_running": "refuse"}


@KINDS
async def test_a_request_sent_again_joins_its_turn(store: Store, kind: str) -> None:
    await asked(store, SUBJECTS[kind][0])
    await store.post("/turns", follows("u1", kind, **RESENT))
    await store.post("/turns/u1/desert", {})
    joined = await store.post("/turns", follows("u2", kind, **RESENT))
    assert (joined["type"], joined["turn_id"]) == ("joined", "u1")
    assert await store.post("/turns", follows("u2", kind, **RESENT)) == joined


@KINDS
async def test_a_request_whose_turn_was_cancelled_is_answered_again_without_what_came_of_it(
    store: Store, kind: str, admin: Any
) -> None:
    await asked(store, SUBJECTS[kind][0], hidden_context("hidden", "t1"))
    first = await store.post("/turns", follows("u1", kind, **RESENT))
    early = {"items": [hidden_context("effect", "t1")]}
    await store.post("/turns/u1/items", early)
    said = [assistant_message("half", "t1"), hidden_context("note", "t1")]
    await store.post("/turns/u1/finish", {"state": "cancelled", "items": said, "deserted": True})
    told = len(await changes(admin))
    again = await store.post("/turns", follows("u2", kind, **RESENT))
    assert again == first | {"turn_id": "u2"}
    assert await store.item_ids("t1") == ["m-u0", "subject", "hidden"]
    assert await changes(admin) == [
        *(await changes(admin))[:told],
        (None, {"type": "thread.item.removed", "item_id": "half"}),
        ("u2", None),
    ]
    assert await store.post("/turns", follows("u2", kind, **RESENT)) == again
    in_result = [one["id"] for one in (await store.get("/turns/u2/items"))["items"]]
    assert in_result == (["subject"] if kind == ANSWERS else [])


@KINDS
async def test_a_request_sent_again_after_its_item_is_gone_is_refused_like_a_new_one(
    store: Store, kind: str
) -> None:
    await asked(store, SUBJECTS[kind][0])
    await store.post("/turns", follows("u1", kind, **RESENT))
    await store.post("/turns/u1/finish", {"state": "cancelled", "deserted": True})
    await store.delete("/threads/t1/items/subject")
    answer = await store.call("POST", "/turns", follows("u2", kind, **RESENT))
    assert answer.body["code"] == ("no_pending_call" if kind == OUTPUT else "not_found")
    assert (await store.call("POST", "/turns", follows("u1", kind, **RESENT))).status in {404, 409}


@KINDS
async def test_a_turn_without_a_message_is_claimed_with_what_its_readers_are_told_first(
    store: Store, kind: str, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await asked(store, SUBJECTS[kind][0])
    begun = await store.post("/turns", follows("u1", kind, gateway_id="gw_a"))
    await lapse(admin, "gw_a")
    (claimed,) = await claim(store, "gw_b")
    assert (claimed["turn_id"], claimed["message"]) == ("u1", None)
    assert not claimed.get("brought_message")
    assert not claimed.get("created_thread")
    assert claimed.get("subject") == (begun["subject"] if kind == ANSWERS else None)
    await store.post("/turns/u1/finish", {"state": "interrupted", "gateway_id": "gw_b"})


async def test_what_a_turn_makes_and_replaces_is_its_result(store: Store) -> None:
    await asked(store, widget("w", "t1"), assistant_message("said", "t1"))
    await store.post("/turns", follow_up("u1", "t1", ACTION, item_id="w"))
    clicked = widget("w", "t1") | {"copy_text": "clicked"}
    outcome = {"state": "completed", "items": [assistant_message("new", "t1"), clicked], "event_count": 3}
    await store.post("/turns/u1/finish", outcome)
    assert await store.item_ids("t1") == ["m-u0", "w", "said", "new"]
    assert (await store.get("/turns/u1/items"))["items"] == [clicked, assistant_message("new", "t1")]


@KINDS
async def test_a_message_may_be_answered_again_over_a_turn_without_one(store: Store, kind: str) -> None:
    await asked(store, SUBJECTS[kind][0])
    await store.post("/turns", follows("u1", kind))
    await store.post("/turns", retry("u2", "t1", "m-u0"))
    assert await state(store, "u1") == "interrupted"
    await store.post("/turns/u1/finish", {"state": "completed", "items": [assistant_message("late", "t1")]})
    assert await store.item_ids("t1") == ["m-u0"]


@KINDS
async def test_it_takes_as_few_round_trips_as_it_can(database_url: str, kind: str) -> None:
    """BEGIN, lock, look at the item, open, COMMIT."""
    asked_for: list[str] = []
    async with open_database(database_url, Settings(store_token=TOKEN, store_pool_size=1)) as database:
        for n in (1, 2):  # a new connection looks up types when it first needs them
            body = begin(f"u{n}", f"t{n}")
            await begin_turn(database, "alice", msgspec.convert(body, BeginTurn))
            await finish_turn(
                database,
                "alice",
                f"u{n}",
                FinishTurn(state="completed", items=[SUBJECTS[kind][0] | {"thread_id": f"t{n}"}]),
            )
        async with database.session("alice") as session:
            connection: Any = session
            connection.add_query_logger(lambda logged: asked_for.append(logged.query))
        for n in (1, 2):
            await asyncio.sleep(0)  # the log comes a moment later
            asked_for.clear()
            body = follow_up(f"v{n}", f"t{n}", kind, **SUBJECTS[kind][1])
            await begin_turn(database, "alice", msgspec.convert(body, BeginTurn))
        await asyncio.sleep(0)
    assert len(asked_for) == 5, asked_for
