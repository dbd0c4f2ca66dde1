"""Where a turn begins: under a lease that holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from bobbin_gateway.abilities import abilities_of
from bobbin_gateway.agent import Turn
from bobbin_gateway.store import StoreRefused
from bobbin_gateway.turns.beginning import Beginnings, NotYet
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.request import TurnRequest
from bobbin_protocol.problem import Problem
from bobbin_protocol.store.turns import RetryAfterItem
from tests.unit.gateway.turns.broken_store import SETTINGS, Refused, broken_store

REQUEST = TurnRequest(
    turn_id="trn_1",
    owner_id="ann",
    thread_id="thr_1",
    input=RetryAfterItem(item_id="msg_1"),
    locale=None,
    fingerprint=b"1",
    idempotency_key=None,
    resumable=False,
)
NOT_FOUND = Problem(title="", status=404, code="not_found", detail="No such thread", message="No such thread")


class Silent:
    """An agent that is never asked."""

    async def respond(self, turn: Turn) -> Any:
        raise AssertionError(turn)
        yield


async def test_a_gateway_that_stood_still_for_longer_than_its_lease_begins_no_turn_as_the_dead_one() -> None:
    answers = [True, False]
    begun_by: list[str] = []

    async def renew(_: Any) -> dict[str, Any]:
        return {"alive": answers.pop(0) if answers else True}

    async def begin(body: Any) -> Any:
        begun_by.append(body["gateway_id"])
        raise Refused(NOT_FOUND)

    settings = replace(SETTINGS, lease_s=2.0)
    async with (
        broken_store(lease=renew, turns=begin) as store,
        asyncio.timeout(10),
        asyncio.TaskGroup() as tasks,
    ):
        engine = TurnEngine(abilities=abilities_of(Silent()), store=store, settings=settings, tasks=tasks)
        beginnings = Beginnings(engine, store, settings)
        assert await engine.lease.renew()
        dead = engine.lease.gateway_id
        await asyncio.sleep(settings.lease_s)
        with pytest.raises(NotYet):
            await beginnings.begin(REQUEST)
        with pytest.raises(StoreRefused):
            await beginnings.begin_later(REQUEST)
        engine.watcher.close()
    assert begun_by == [engine.lease.gateway_id]
    assert engine.lease.gateway_id != dead
