"""Asking for the end of a turn, and noting that nobody reads it, through the HTTP API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.conftest import Store, begin
from tests.unit.store.leases import admin

__all__ = ["admin"]


async def test_whoever_asks_for_the_end_of_a_turn_is_told_that_it_is_asked_for(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    for _ in range(2):
        record = await store.post("/turns/u1/cancel", {})
        assert (record["state"], record["cancel_requested"]) == ("running", True)
    assert await store.get("/turns/u1") == record


async def test_a_turn_that_has_ended_is_not_asked_to_end(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed"})
    record = await store.get("/turns/u1")
    assert await store.post("/turns/u1/cancel", {}) == record
    assert await store.post("/turns/u1/desert", {}) == record
    assert "cancel_requested" not in record


async def test_a_turn_that_is_read_is_not_cancelled_as_deserted(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1", idempotency_key="key"))
    only = {"only_if_deserted": True}
    assert "cancel_requested" not in await store.post("/turns/u1/cancel", only)
    await store.post("/turns/u1/desert", {})
    await store.post("/turns", begin("u2", "t1", idempotency_key="key"))
    await store.post("/turns/u1/desert", {})  # the loss of the first, noticed late
    assert "cancel_requested" not in await store.post("/turns/u1/cancel", only)
    await store.post("/turns/u1/desert", {"reader_id": "u2"})
    assert (await store.post("/turns/u1/cancel", only))["cancel_requested"]


@pytest.mark.parametrize("call", ["cancel", "desert", "join"])
async def test_an_unknown_or_foreign_turn_is_not_found(store: Store, admin: Any, call: str) -> None:
    await store.post("/turns", begin("u1", "t1"))
    body = {"reader_id": "r1"} if call == "join" else {}
    for caller, turn_id in [(store, "gone"), (store.of("bob"), "u1")]:
        assert (await caller.call("POST", f"/turns/{turn_id}/{call}", body)).status == 404
    row = await admin.fetchrow("SELECT cancel_requested, deserted_at, joined_by FROM turns")
    assert tuple(row) == (False, None, None)
