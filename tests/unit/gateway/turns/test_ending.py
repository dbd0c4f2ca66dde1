"""Storing an outcome takes no longer than it may, whatever the store does."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bobbin_gateway.turns import outcome
from bobbin_gateway.turns.ending import finish
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.tail import Tail
from tests.unit.gateway.openai_agent.samples import turn
from tests.unit.gateway.turns.broken_store import SETTINGS, Away, broken_store
from tests.unit.gateway.turns.test_takeover import NoWriter


def running() -> RunningTurn:
    one = turn()
    return RunningTurn(one, Tail(one, "gw_1", NoWriter()), 10**6, lambda _: None)


async def test_a_store_that_hangs_is_left_in_time() -> None:
    async def hang(_: Any) -> None:
        await asyncio.sleep(SETTINGS.store_timeout_s)

    async with broken_store(finish=hang) as store:
        began = time.monotonic()
        deadline = asyncio.get_running_loop().time() + 1.5
        assert not await finish(store, running(), outcome.COMPLETED, deadline=lambda: deadline)
        assert 1 < time.monotonic() - began < 4.8  # it hangs for 5


async def test_a_store_that_is_back_is_asked_once_however_late_it_is() -> None:
    one = running()
    finished = {
        "turn_id": "trn_1",
        "state": "completed",
        "thread": {"id": "thr_1", "created_at": "2026-01-01T00:00:00Z"},
    }

    async def answer(_: Any) -> Any:
        return finished

    async with broken_store(finish=answer) as store:
        assert await finish(store, one, outcome.COMPLETED, deadline=lambda: 0)


async def test_a_store_that_is_away_for_a_moment_is_asked_again() -> None:
    tries = 0

    async def away_at_first(_: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Away
        return {
            "turn_id": "trn_1",
            "state": "completed",
            "thread": {"id": "thr_1", "created_at": "2026-01-01T00:00:00Z"},
        }

    async with broken_store(finish=away_at_first) as store:
        deadline = asyncio.get_running_loop().time() + 10
        assert await finish(store, running(), outcome.COMPLETED, deadline=lambda: deadline)
    assert tries == 3
