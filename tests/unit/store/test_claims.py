"""Claims: the turns of a gateway that died go to exactly one other, with all that is known of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bobbin_store import claims
from tests.unit.store.conftest import Store, begin
from tests.unit.store.leases import (
    LEASE_S,
    admin,
    alive,
    blocked,
    cancel,
    claim,
    entry,
    finish,
    held,
    lapse,
    settled,
    text_of,
    time_passes,
    turn,
    write,
)

__all__ = ["admin"]


async def test_the_turns_of_a_gateway_whose_lease_lapsed_come_with_all_that_is_known(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    begun = await turn(store, "u1", "gw_a")
    await turn(store.of("bob"), "u2", "gw_a")
    await cancel(store.of("bob"), "u2")
    await write(store, "gw_a", entry("u1", 1, 3, checkpoint=b"here"), entry("u1", 4))
    assert await claim(store, "gw_b") == []
    await lapse(admin, "gw_a")
    first, second = sorted(await claim(store, "gw_b"), key=lambda claimed: claimed["turn_id"])
    assert text_of(first.pop("journal")) == "1;2;3;4;"
    assert first == {
        "owner_id": "alice",
        "turn_id": "u1",
        "state": "running",
        "thread": begun["thread"],
        "message": begun["message"],
        "brought_message": True,
        "created_thread": True,
        "cancel_requested": False,
        "checkpoint": "aGVyZQ==",
    }
    assert (second["owner_id"], second["turn_id"]) == ("bob", "u2")
    assert (second["cancel_requested"], second["checkpoint"], second["journal"]) == (True, None, [])


async def test_a_claimed_turn_is_the_claimers_to_write_and_to_finish(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    assert len(await claim(store, "gw_b")) == 1
    assert (await write(store, "gw_a", entry("u1", 1)))["written"] == []
    assert (await write(store, "gw_b", entry("u1", 1)))["written"] == ["u1"]
    await finish(store, "u1", "gw_b", "interrupted")
    assert await claim(store, "gw_b", running=[]) == []


async def test_who_lost_a_turn_is_not_told_that_its_end_was_stored(store: Store, admin: Any) -> None:
    """The claimer has ended it, and in the same state: but not with what the dead gateway has to say."""
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    assert len(await claim(store, "gw_b")) == 1
    await finish(store, "u1", "gw_b", "interrupted")
    for state in ["interrupted", "completed"]:
        late = await store.call("POST", "/turns/u1/finish", {"state": state, "gateway_id": "gw_a"})
        assert (late.status, late.body["code"]) == (409, "lease_lost")
    await finish(store, "u1", "gw_b", "interrupted")


async def test_a_superseded_turn_is_claimed_until_it_has_ended(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await store.post("/turns", begin("u2", "t-u1", "add_user_message"))
    await lapse(admin, "gw_a")
    (claimed,) = await claim(store, "gw_b")
    assert (claimed["turn_id"], claimed["state"]) == ("u1", "interrupted")


async def test_a_turn_whose_message_has_been_removed_is_claimed_without_it(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await store.delete("/threads/t-u1/items/m-u1")
    await lapse(admin, "gw_a")
    (claimed,) = await claim(store, "gw_b")
    assert (claimed["turn_id"], claimed["message"]) == ("u1", None)


async def test_turns_without_a_lease_and_turns_that_ended_are_nobodys_to_claim(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await store.post("/turns", begin("unleased", "t1"))
    await turn(store, "over", "gw_a")
    await finish(store, "over", "gw_a")
    await lapse(admin, "gw_a")
    assert await claim(store, "gw_b") == []


async def test_a_turn_under_the_lease_of_a_gateway_nobody_knows_is_claimed(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_b")
    await turn(store, "u1", "gw_forgotten")
    assert [claimed["turn_id"] for claimed in await claim(store, "gw_b")] == ["u1"]


@pytest.mark.parametrize("state", ["unknown", "new", "lapsed", "dead"])
async def test_only_a_gateway_that_has_lived_for_a_leases_length_claims(
    store: Store, admin: Any, state: str
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    if state == "new":
        await alive(store, "gw_c")
    elif state != "unknown":
        await settled(store, admin, "gw_c")
        await lapse(admin, "gw_c")
    if state == "dead":
        await admin.execute("UPDATE gateways SET dead = true WHERE id = 'gw_c'")
    assert await claim(store, "gw_c", running=[]) == []
    assert not await admin.fetchval("SELECT dead FROM gateways WHERE id = 'gw_a'")
    assert len(await claim(store, "gw_b")) == 1


async def test_who_is_heard_first_after_a_standstill_takes_nothing_from_who_is_heard_next(
    store: Store, admin: Any
) -> None:
    """The store or its database stood still until all leases had lapsed: everyone has the time to renew."""
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_b")
    await time_passes(admin, 2 * LEASE_S)
    await alive(store, "gw_a")
    assert await claim(store, "gw_a", running=[]) == []
    await alive(store, "gw_b")
    assert (await write(store, "gw_b", entry("u1", 1)))["written"] == ["u1"]


async def test_who_does_not_come_back_after_a_standstill_is_dead_a_leases_length_later(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_b")
    await time_passes(admin, 2 * LEASE_S)
    for _ in range(2):
        await alive(store, "gw_a")
        assert await claim(store, "gw_a") == []
        await time_passes(admin, LEASE_S / 2)
    await alive(store, "gw_a")
    assert [claimed["turn_id"] for claimed in await claim(store, "gw_a")] == ["u1"]
    assert not (await store.put("/gateways/gw_b", {"lease_s": 60}))["alive"]


async def test_who_claims_with_a_limit_gets_the_rest_the_next_time(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    for number in range(5):
        await turn(store, f"u{number}", ["gw_a", "gw_gone", "gw_away"][number % 3])
    await lapse(admin, "gw_a")
    counts: list[int] = []
    taken: set[str] = set()
    while not counts or counts[-1]:
        claimed = await claim(store, "gw_b", limit=2)
        counts.append(len(claimed))
        taken |= {one["turn_id"] for one in claimed}
    assert counts == [2, 2, 1, 0]
    assert taken == {f"u{number}" for number in range(5)}


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_claim_is_for_1_to_100_turns(store: Store, limit: int) -> None:
    answer = await store.call("POST", "/gateways/gw_b/claims", {"limit": limit})
    assert (answer.status, answer.body["field"]) == (400, "$.limit")


async def test_claimers_at_once_never_get_the_same_turn(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_dead", "gw_b", "gw_c", "gw_d")
    for number in range(30):
        await turn(store.of(f"o{number % 7}"), f"u{number}", "gw_dead")
    await lapse(admin, "gw_dead")

    async def claim_all(gateway_id: str) -> list[str]:
        mine: list[str] = []
        for _ in range(12):
            mine += [claimed["turn_id"] for claimed in await claim(store, gateway_id, limit=3)]
        return mine

    parts = await asyncio.gather(*(claim_all(gateway_id) for gateway_id in ["gw_b", "gw_c", "gw_d"]))
    together = [turn_id for part in parts for turn_id in part]
    assert sorted(together) == sorted(f"u{number}" for number in range(30))
    for gateway_id, part in zip(["gw_b", "gw_c", "gw_d"], parts, strict=True):
        rows = await admin.fetch("SELECT id FROM turns WHERE gateway_id = $1", gateway_id)
        assert sorted(row["id"] for row in rows) == sorted(part)


async def test_a_turn_that_someone_else_is_taking_is_passed_over(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_b")
    for turn_id in ["u1", "u2"]:
        await turn(store, turn_id, "gw_gone")
    async with held(admin, "UPDATE turns SET gateway_id = 'gw_c' WHERE id = 'u1'"):
        assert [claimed["turn_id"] for claimed in await claim(store, "gw_b")] == ["u2"]


async def test_a_turn_that_ends_while_it_is_claimed_is_either_ended_or_claimed(
    store: Store, admin: Any
) -> None:
    await settled(store, admin, "gw_b")
    for number in range(10):
        turn_id = f"u{number}"
        await turn(store, turn_id, "gw_gone")
        ending = {"state": "completed", "gateway_id": "gw_gone"}
        finished, claimed = await asyncio.gather(
            store.call("POST", f"/turns/{turn_id}/finish", ending), claim(store, "gw_b")
        )
        if claimed:
            assert (finished.status, finished.body["code"]) == (409, "lease_lost")
        else:
            assert finished.status == 200
        state = await admin.fetchval("SELECT state FROM turns WHERE id = $1", turn_id)
        assert state == ("running" if claimed else "completed")


async def test_a_claim_waits_for_no_thread(store: Store, admin: Any) -> None:
    """Someone writes to the thread at length; its turn is taken over all the same."""
    await settled(store, admin, "gw_b")
    await turn(store, "u1", "gw_gone")
    async with held(admin, "SELECT FROM threads FOR UPDATE"):
        assert len(await claim(store, "gw_b")) == 1


async def test_a_turn_whose_thread_is_deleted_meanwhile_is_left_out(store: Store, admin: Any) -> None:
    """Between the moment in which the turn is taken and the moment in which its thread is read."""
    await settled(store, admin, "gw_b")
    for turn_id in ["u1", "u2"]:
        await turn(store, turn_id, "gw_gone")
    async with held(admin, "LOCK TABLE threads IN ACCESS EXCLUSIVE MODE"):
        claiming = asyncio.create_task(claim(store, "gw_b"))
        await blocked(admin)
        await admin.execute("DELETE FROM threads WHERE id = 't-u1'")
    assert [claimed["turn_id"] for claimed in await claiming] == ["u2"]


async def test_turns_of_a_lost_answer_come_again_to_who_says_what_it_runs(store: Store, admin: Any) -> None:
    """Whether it was the answer to a claim or to a begin that never reached the gateway."""
    await settled(store, admin, "gw_b")
    await turn(store, "u1", "gw_gone")
    await claim(store, "gw_b")
    await turn(store, "u2", "gw_b")
    await turn(store, "u3", "gw_b")
    await turn(store, "u4", "gw_gone")
    assert [claimed["turn_id"] for claimed in await claim(store, "gw_b")] == ["u4"]
    claimed = await claim(store, "gw_b", running=["u3", "u4"])
    assert sorted(one["turn_id"] for one in claimed) == ["u1", "u2"]
    await turn(store, "u5", "gw_gone")
    claimed = await claim(store, "gw_b", running=["u3", "u4"], limit=2)
    assert len(claimed) == 2
    assert claimed[0]["turn_id"] == "u5"


async def test_a_renewal_during_a_claim_waits_and_then_holds(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_b")
    async with held(admin, "SELECT FROM gateways WHERE id = 'gw_b' FOR SHARE"):
        renewal = asyncio.create_task(store.put("/gateways/gw_b", {"lease_s": 60}))
        await blocked(admin)
        assert await claim(store, "gw_b") == []
    assert (await renewal)["alive"]


async def test_large_journals_come_one_claim_after_another_until_all_turns_have_come(
    store: Store, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_BYTES", 1)
    await settled(store, admin, "gw_a", "gw_b")
    turn_ids = {f"u{number}" for number in range(4)}
    for turn_id in turn_ids:
        await turn(store, turn_id, "gw_a")
    await write(store, "gw_a", *(entry(turn_id, 1) for turn_id in turn_ids))
    await lapse(admin, "gw_a")
    running: list[str] = []
    for left in (3, 2, 1, 0):
        claimed = await store.post("/gateways/gw_b/claims", {"running": running})
        running += [one["turn_id"] for one in claimed["turns"]]
        assert (len(running), claimed.get("more", False)) == (4 - left, left > 0)
    assert set(running) == turn_ids
