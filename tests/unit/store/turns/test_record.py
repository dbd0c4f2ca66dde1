"""What is known of a turn."""

from __future__ import annotations

from tests.unit.store.conftest import Store, begin


async def test_a_running_turn_has_begun_and_not_ended(store: Store) -> None:
    begun = await store.post("/turns", begin("u1", "t1"))
    turn = await store.get("/turns/u1")
    assert turn == {
        "id": "u1",
        "thread_id": "t1",
        "state": "running",
        "started_at": begun["thread"]["created_at"],
    }
