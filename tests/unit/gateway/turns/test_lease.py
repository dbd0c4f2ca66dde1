"""A process keeps its lease through calls that hang, and one turn's fault stays that turn's."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from bobbin_gateway.turns.lease import Lease
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_protocol.store.gateways import ClaimedTurn
from bobbin_protocol.store.watch import Watch
from tests.unit.gateway.turns.broken_store import SETTINGS, broken_store

THREAD = {"id": "thr_1", "created_at": "2026-01-01T00:00:00Z"}


def claimed(turn_id: str) -> dict[str, Any]:
    return {
        "owner_id": "ann",
        "turn_id": turn_id,
        "state": "running",
        "thread": THREAD,
        "message": None,
        "cancel_requested": False,
        "checkpoint": None,
        "journal": [],
    }


async def test_a_renewal_that_hangs_is_given_up_while_the_lease_still_lasts() -> None:
    """A store that stands still behind a load balancer: the next try may reach another one."""
    lease_s = 4.0
    renewed: asyncio.Queue[float] = asyncio.Queue()
    count = 0

    async def renew(_: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        renewed.put_nowait(time.monotonic())
        if count == 2:
            await asyncio.sleep(SETTINGS.store_timeout_s)
        return {"alive": True}

    async def claim(_: Any) -> dict[str, Any]:
        return {}

    async with broken_store(lease=renew, claims=claim) as store, asyncio.timeout(10):
        lease = Lease(store, RunningTurns(), replace(SETTINGS, lease_s=lease_s))
        running = asyncio.create_task(lease.run(lambda _: None))
        first, _, third = [await renewed.get() for _ in range(3)]
        running.cancel()
    assert third - first < lease_s


async def test_nothing_is_claimed_of_a_store_that_has_not_just_answered() -> None:
    """What waits at a store that stands still may be heard before the renewals of others, when it goes on."""
    claims = 0
    stands_still, claimed_once = asyncio.Event(), asyncio.Event()

    async def renew(_: Any) -> dict[str, Any]:
        if claimed_once.is_set():
            stands_still.set()
            await asyncio.sleep(SETTINGS.store_timeout_s)
        return {"alive": True}

    async def claim(_: Any) -> dict[str, Any]:
        nonlocal claims
        claims += 1
        claimed_once.set()
        return {}

    async with broken_store(lease=renew, claims=claim) as store, asyncio.timeout(20):
        lease = Lease(store, RunningTurns(), replace(SETTINGS, lease_s=1.0))
        running = asyncio.create_task(lease.run(lambda _: None))
        await stands_still.wait()
        await asyncio.sleep(0.5)  # what the last answer has brought about
        before = claims
        await asyncio.sleep(1.5)
        running.cancel()
    assert claims == before > 0


async def test_a_claim_that_hangs_costs_no_lease() -> None:
    renewals: list[float] = []
    claiming = asyncio.Event()

    async def renew(_: Any) -> dict[str, Any]:
        renewals.append(time.monotonic())
        return {"alive": True}

    async def claim(_: Any) -> dict[str, Any]:
        claiming.set()
        await asyncio.sleep(SETTINGS.store_timeout_s)
        return {}

    async with broken_store(lease=renew, claims=claim) as store, asyncio.timeout(20):
        lease = Lease(store, RunningTurns(), replace(SETTINGS, lease_s=2.0))
        running = asyncio.create_task(lease.run(lambda _: None))
        await claiming.wait()
        before = len(renewals)
        await asyncio.sleep(3)
        running.cancel()
    assert len(renewals) - before >= 4
    assert max(later - earlier for earlier, later in pairwise(renewals)) < 2


async def test_users_whose_calls_hang_cost_no_lease() -> None:
    hanging = 0

    async def renew(_: Any) -> dict[str, Any]:
        return {"alive": True}

    async def watch(_: Any) -> dict[str, Any]:
        nonlocal hanging
        hanging += 1
        await asyncio.sleep(SETTINGS.store_timeout_s)
        return {}

    async with broken_store(lease=renew, watch=watch) as store, asyncio.timeout(10):
        lease = Lease(store, RunningTurns(), replace(SETTINGS, lease_s=4.0))
        users = [asyncio.create_task(store.watch(Watch())) for _ in range(100)]
        while hanging < 8:  # noqa: ASYNC110 (the server counts)
            await asyncio.sleep(0.01)
        assert all([await lease.renew() for _ in range(5)])
        for user in users:
            user.cancel()


async def test_a_turn_that_cannot_be_brought_back_does_not_keep_others_from_it() -> None:
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def renew(_: Any) -> dict[str, Any]:
        return {"alive": True}

    async def claim(_: Any) -> dict[str, Any]:
        return {"turns": [claimed(turn_id) for turn_id in ("trn_bad", "trn_good")]}

    def take_over(turn: ClaimedTurn) -> None:
        if turn.turn_id == "trn_bad":
            raise ValueError("a checkpoint of another version")
        taken.put_nowait(turn.turn_id)

    async with broken_store(lease=renew, claims=claim) as store, asyncio.timeout(10):
        lease = Lease(store, RunningTurns(), replace(SETTINGS, lease_s=0.5))
        running = asyncio.create_task(lease.run(take_over))
        assert [await taken.get() for _ in range(2)] == ["trn_good"] * 2  # it goes on claiming, too
        running.cancel()
