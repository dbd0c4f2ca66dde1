"""What became of a turn, through the HTTP API."""

from __future__ import annotations

from typing import Any

from tests.unit.store.conftest import Store, assistant_message, begin, hidden_context, retry


def ids(result: Any) -> list[str]:
    return [item["id"] for item in result["items"]]


async def finish(store: Store, turn_id: str, *item_ids: str) -> None:
    items = [assistant_message(item_id, "t1") for item_id in item_ids]
    items.append(hidden_context(f"hidden-{turn_id}", "t1"))
    await store.post(f"/turns/{turn_id}/finish", {"state": "completed", "items": items, "event_count": 5})


async def test_a_turn_comes_with_its_thread_and_its_visible_items_and_no_others(store: Store) -> None:
    begun = await store.post("/turns", begin("u1", "t1"))
    await finish(store, "u1", "a", "b")
    await store.items("t1", "of-a-service")
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    await finish(store, "u2", "c")
    first, second = await store.get("/turns/u1/items"), await store.get("/turns/u2/items")
    thread = (await store.get("/threads/t1"))["thread"]
    assert (first["turn"], first["thread"]) == (await store.get("/turns/u1"), thread)
    assert first["turn"]["event_count"] == 5
    assert (ids(first), ids(second)) == (["m-u1", "a", "b"], ["m-u2", "c"])
    assert first["items"][0] == begun["message"]
    assert (first["created_thread"], second["created_thread"]) == (True, False)


async def test_a_retried_turn_has_the_old_message_and_its_own_items(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await finish(store, "u1", "a")
    await store.post("/turns", retry("u2", "t1", "m-u1"))
    await finish(store, "u2", "b")
    result = await store.get("/turns/u2/items")
    assert (ids(result), result["created_thread"]) == (["m-u1", "b"], True)
    assert ids(await store.get("/turns/u1/items")) == ["m-u1"]


async def test_items_that_are_gone_are_left_out_even_the_message(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await finish(store, "u1", "a", "b")
    for item_id in ["a", "m-u1"]:
        await store.delete(f"/threads/t1/items/{item_id}")
    result = await store.get("/turns/u1/items")
    assert (ids(result), result["created_thread"]) == (["b"], False)


async def test_a_running_turn_has_its_message(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    result = await store.get("/turns/u1/items")
    assert (ids(result), result["turn"]["state"]) == (["m-u1"], "running")


async def test_an_unknown_or_foreign_turn_is_not_found(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    assert (await store.call("GET", "/turns/gone/items")).status == 404
    assert (await store.of("bob").call("GET", "/turns/u1/items")).status == 404
