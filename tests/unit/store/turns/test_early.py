"""Items of a turn that are stored before its end, through the HTTP API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.store.conftest import (
    Store,
    assistant_message,
    begin,
    follow_up,
    hidden_context,
    questions,
    retry,
)
from tests.unit.store.leases import admin, alive, claim, held, lapse, settled, turn

__all__ = ["admin"]


def keep(*items: dict[str, Any], gateway_id: str | None = None) -> dict[str, Any]:
    return {"items": list(items), **({"gateway_id": gateway_id} if gateway_id else {})}


async def test_items_are_there_while_the_turn_runs_and_a_repeat_changes_nothing(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    for _ in range(2):
        await store.post("/turns/u1/items", keep(hidden_context("a", "t1"), hidden_context("b", "t1")))
        assert await store.item_ids("t1") == ["m-u1", "a", "b"]
    changed = hidden_context("a", "t1") | {"content": "otherwise"}
    await store.post("/turns/u1/items", keep(changed))
    assert await store.get("/threads/t1/items/a") == changed
    assert await store.item_ids("t1") == ["m-u1", "a", "b"]
    await store.post("/turns/u1/items", keep())


async def test_the_finish_puts_them_in_their_place_among_the_others(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/items", keep(hidden_context("effect", "t1")))
    await store.items("t1", "of-a-service")
    items = [assistant_message("said", "t1"), hidden_context("effect", "t1"), assistant_message("end", "t1")]
    for _ in range(2):
        await store.post("/turns/u1/finish", {"state": "completed", "items": items})
        assert await store.item_ids("t1") == ["m-u1", "of-a-service", "said", "effect", "end"]


async def test_what_a_finish_replaces_stays_where_it_stands(store: Store) -> None:
    """The message, the questions that it goes on from, and items of earlier turns are not stored early."""
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed", "items": [questions("q", "t1")]})
    answers = follow_up("u2", "t1", "add_structured_input", item_id="q", submission={"status": "skipped"})
    await store.post("/turns", answers)
    await store.items("t1", "later")
    await store.post("/turns/u2/items", keep(hidden_context("effect", "t1")))
    items = [assistant_message("said", "t1"), questions("q", "t1"), hidden_context("effect", "t1")]
    await store.post("/turns/u2/finish", {"state": "completed", "items": items})
    assert await store.item_ids("t1") == ["m-u1", "q", "later", "said", "effect"]
    message = begin("u3", "t1", "add_user_message")
    await store.post("/turns", message)
    await store.post("/turns/u3/items", keep(hidden_context("effect3", "t1")))
    items = [assistant_message("last", "t1"), message["input"]["message"], hidden_context("effect3", "t1")]
    await store.post("/turns/u3/finish", {"state": "completed", "items": items})
    assert (await store.item_ids("t1"))[-3:] == ["m-u3", "last", "effect3"]


async def test_they_stay_when_the_gateway_dies(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a", "t1")
    await store.post("/turns/u1/items", keep(hidden_context("effect", "t1"), gateway_id="gw_a"))
    await lapse(admin, "gw_a")
    assert len(await claim(store, "gw_b")) == 1
    late = await store.call("POST", "/turns/u1/items", keep(hidden_context("x", "t1"), gateway_id="gw_a"))
    assert (late.status, late.body["code"]) == (409, "lease_lost")
    await store.post("/turns/u1/items", keep(hidden_context("more", "t1"), gateway_id="gw_b"))
    await store.post("/turns/u1/finish", {"state": "interrupted", "gateway_id": "gw_b"})
    assert await store.item_ids("t1") == ["m-u1", "effect", "more"]
    late = await store.call("POST", "/turns/u1/items", keep(hidden_context("x", "t1"), gateway_id="gw_a"))
    assert (late.status, late.body["code"]) == (409, "lease_lost")


async def test_whoever_waits_while_the_turn_is_claimed_has_lost_it(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a", "t1")
    async with held(admin, "UPDATE turns SET gateway_id = 'gw_b'"):
        body = keep(hidden_context("x", "t1"), gateway_id="gw_a")
        writing = asyncio.create_task(store.call("POST", "/turns/u1/items", body))
        await asyncio.sleep(0.1)
        assert not writing.done()
    assert (await writing).body["code"] == "lease_lost"
    assert await store.item_ids("t1") == ["m-u1"]


async def test_a_superseded_turn_keeps_what_it_has_done(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    await store.post("/turns/u1/items", keep(hidden_context("effect", "t1")))
    assert await store.item_ids("t1") == ["m-u1", "m-u2", "effect"]


async def test_a_turn_whose_place_a_retry_has_removed_stores_nothing(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/items", keep(hidden_context("effect", "t1")))
    await store.post("/turns", retry("u2", "t1", "m-u1"))
    await store.post("/turns/u1/items", keep(hidden_context("more", "t1")))
    assert await store.item_ids("t1") == ["m-u1"]


async def test_an_ended_turn_takes_none(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed"})
    answer = await store.call("POST", "/turns/u1/items", keep(hidden_context("late", "t1")))
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert await store.item_ids("t1") == ["m-u1"]


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([hidden_context("a", "t2")], "$.items[0].thread_id"),
        ([hidden_context("a", "t1"), hidden_context("b", "t2")], "$.items[1].thread_id"),
        ([hidden_context("a", "t1"), hidden_context("a", "t1")], "$.items"),
        ([{"type": "novelty"}], "$.items[0]"),
    ],
)
async def test_items_that_do_not_belong_are_named(
    store: Store, items: list[dict[str, Any]], field: str
) -> None:
    await store.post("/turns", begin("u1", "t1"))
    answer = await store.call("POST", "/turns/u1/items", {"items": items})
    assert (answer.status, answer.body["field"]) == (400, field)
    assert await store.item_ids("t1") == ["m-u1"]


async def test_an_unknown_or_foreign_turn_is_not_found(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    body = keep(hidden_context("a", "t1"))
    assert (await store.call("POST", "/turns/gone/items", body)).status == 404
    assert (await store.of("bob").call("POST", "/turns/u1/items", body)).status == 404
