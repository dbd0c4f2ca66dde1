"""Feedback through the HTTP API."""

from __future__ import annotations

import pytest

from tests.unit.store.conftest import Store


@pytest.fixture
async def thread(store: Store) -> Store:
    await store.thread("t1")
    await store.items("t1", "b", "a")
    return store


async def opinions(store: Store) -> list[tuple[str, str]]:
    return [(entry["item_id"], entry["kind"]) for entry in await store.get("/threads/t1/feedback")]


async def test_an_opinion_on_several_items_is_read_back_in_their_order(thread: Store) -> None:
    await thread.post("/threads/t1/feedback", {"item_ids": ["a", "b", "a"], "kind": "positive"})
    assert await opinions(thread) == [("b", "positive"), ("a", "positive")]


async def test_a_later_opinion_replaces_an_earlier_one(thread: Store) -> None:
    await thread.post("/threads/t1/feedback", {"item_ids": ["a", "b"], "kind": "positive"})
    await thread.post("/threads/t1/feedback", {"item_ids": ["a"], "kind": "negative"})
    assert await opinions(thread) == [("b", "positive"), ("a", "negative")]


async def test_an_unknown_item_makes_all_of_it_not_found(thread: Store) -> None:
    body = {"item_ids": ["a", "unknown"], "kind": "positive"}
    answer = await thread.call("POST", "/threads/t1/feedback", body)
    assert answer.status == 404
    assert await opinions(thread) == []


async def test_feedback_goes_with_its_item(thread: Store) -> None:
    await thread.post("/threads/t1/feedback", {"item_ids": ["a", "b"], "kind": "positive"})
    await thread.delete("/threads/t1/items/a")
    assert await opinions(thread) == [("b", "positive")]


async def test_an_unknown_kind_or_too_many_items_are_refused(thread: Store) -> None:
    for body, field in [
        ({"item_ids": ["a"], "kind": "lukewarm"}, "$.kind"),
        ({"item_ids": [f"i{number}" for number in range(1001)], "kind": "positive"}, "$.item_ids"),
        ({"item_ids": ["a\x00"], "kind": "positive"}, "$.item_ids"),
    ]:
        answer = await thread.call("POST", "/threads/t1/feedback", body)
        assert answer.status == 400
        assert answer.body["field"].startswith(field)
