"""Leases: kept by renewing them, lost for ever once someone has declared the gateway dead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.store.conftest import Store, begin
from tests.unit.store.leases import (
    admin,
    alive,
    blocked,
    cancel,
    claim,
    finish,
    held,
    lapse,
    settled,
    turn,
    write,
)

__all__ = ["admin"]


async def test_a_gateway_is_registered_by_its_first_renewal_and_lives_as_long_as_it_renews(
    store: Store, admin: Any
) -> None:
    for lease_s in [0.5, 30]:
        assert await store.put("/gateways/gw_a", {"lease_s": lease_s}) == {"alive": True, "stop": []}
        left = await admin.fetchval("SELECT lease_until - now() FROM gateways WHERE id = 'gw_a'")
        assert lease_s - 5 < left.total_seconds() <= lease_s


async def test_a_lapsed_lease_can_be_renewed_until_someone_has_declared_the_gateway_dead(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await lapse(admin, "gw_a")
    assert (await store.put("/gateways/gw_a", {"lease_s": 60}))["alive"]
    await lapse(admin, "gw_a")
    await claim(store, "gw_b")
    for _ in range(2):
        assert await store.put("/gateways/gw_a", {"lease_s": 60}) == {"alive": False, "stop": []}
    assert (await store.put("/gateways/gw_c", {"lease_s": 60}))["alive"]


async def test_a_renewal_that_comes_during_the_declaration_finds_the_gateway_dead(
    store: Store, admin: Any
) -> None:
    await alive(store, "gw_a")
    async with held(admin, "UPDATE gateways SET dead = true WHERE id = 'gw_a'"):
        renewal = asyncio.create_task(store.put("/gateways/gw_a", {"lease_s": 60}))
        await blocked(admin)
    assert await renewal == {"alive": False, "stop": []}


async def test_a_declaration_that_comes_during_a_renewal_passes_the_gateway_over(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    async with held(admin, "UPDATE gateways SET lease_until = now() + interval '1 minute' WHERE id = 'gw_a'"):
        assert await claim(store, "gw_b") == []
    assert (await store.put("/gateways/gw_a", {"lease_s": 60}))["alive"]


async def test_a_renewal_names_the_turns_to_stop(store: Store, admin: Any) -> None:
    """Those that someone cancelled and those that a newer turn superseded, of this gateway only."""
    await alive(store, "gw_a", "gw_b")
    for turn_id, gateway_id in [("kept", "gw_a"), ("over", "gw_a"), ("off", "gw_a"), ("other", "gw_b")]:
        await turn(store, turn_id, gateway_id)
    newer = {**begin("newer", "t-over", "add_user_message"), "gateway_id": "gw_a"}
    await store.post("/turns", newer)
    await cancel(store, "off")
    await cancel(store, "other")
    assert sorted((await store.put("/gateways/gw_a", {"lease_s": 60}))["stop"]) == ["off", "over"]
    await finish(store, "over", "gw_a", "cancelled")
    assert (await store.put("/gateways/gw_a", {"lease_s": 60}))["stop"] == ["off"]


async def test_released_turns_go_to_the_next_that_claims(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    for turn_id in ["u1", "u2", "u3"]:
        await turn(store, turn_id, "gw_a")
    await cancel(store, "u2")
    released = [{"owner_id": "alice", "turn_id": turn_id} for turn_id in ["u1", "u2"]]
    body = {"lease_s": 60, "released": released}
    assert await store.put("/gateways/gw_a", body) == {"alive": True, "stop": []}
    assert (await write(store, "gw_a"))["written"] == []
    assert sorted(claimed["turn_id"] for claimed in await claim(store, "gw_b")) == ["u1", "u2"]
    # A repeat, which comes late, takes nothing from its new owner.
    assert (await store.put("/gateways/gw_a", body))["alive"]
    assert await claim(store, "gw_a") == []


async def test_nobody_releases_turns_of_others(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    released = [{"owner_id": owner, "turn_id": "u1"} for owner in ["alice", "bob"]]
    assert (await store.put("/gateways/gw_b", {"lease_s": 60, "released": released}))["alive"]
    assert await claim(store, "gw_b") == []


async def test_a_dead_gateway_releases_nothing(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    await claim(store, "gw_b")
    released = [{"owner_id": "alice", "turn_id": "u1"}]
    body = {"lease_s": 60, "released": released}
    assert await store.put("/gateways/gw_a", body) == {"alive": False, "stop": []}
    assert await admin.fetchval("SELECT gateway_id FROM turns WHERE id = 'u1'") == "gw_b"


@pytest.mark.parametrize("lease_s", [0, -1, 3601, None])
async def test_a_lease_lasts_from_a_moment_to_an_hour(store: Store, lease_s: float | None) -> None:
    answer = await store.call("PUT", "/gateways/gw_a", {"lease_s": lease_s})
    assert (answer.status, answer.body["field"]) == (400, "$.lease_s")


async def test_only_who_shows_the_service_token_renews(store: Store) -> None:
    answer = await store.http.put("/v1/gateways/gw_a", json={"lease_s": 60})
    assert answer.status_code == 401
