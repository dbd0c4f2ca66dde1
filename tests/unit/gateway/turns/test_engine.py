"""A turn ends for its readers whatever goes wrong beside it, and never takes the other turns with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from bobbin_gateway.abilities import abilities_of
from bobbin_gateway.agent import Turn
from bobbin_gateway.store import Store
from bobbin_gateway.turns import measures
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.store.turns import Usage
from tests.unit.gateway.openai_agent.samples import turn
from tests.unit.gateway.turns.broken_store import SETTINGS, broken_store

FINISHED = {
    "turn_id": "trn_1",
    "state": "completed",
    "thread": {"id": "thr_1", "created_at": "2026-01-01T00:00:00Z"},
}


class Counting:
    """An agent that says nothing, and sets its use of tokens to anything."""

    def __init__(self, usage: Any) -> None:
        self.usage = usage

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        turn.usage = self.usage
        for event in ():
            yield event


async def ended(store: Store, agent: Counting) -> RunningTurn:
    """Run a turn to its end, in a group of tasks that an exception would end."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        abilities = abilities_of(agent)
        engine = TurnEngine(abilities=abilities, store=store, settings=SETTINGS, tasks=tasks)
        one = turn()
        one.thread.title = "Known"
        running = engine._prepare(one, "gw_1")
        engine._launch(running, lambda: agent.respond(one))
        assert await running.ends_within(5)
        engine.watcher.close()
    return running


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        (Usage(input_tokens=-3, output_tokens=5), {"output_tokens": 5}),
        ({"input_tokens": 3}, None),
        (object(), None),
    ],
)
async def test_an_agent_may_set_its_usage_to_anything(said: Any, stored: Any) -> None:
    finishes: list[Any] = []

    async def finish(body: Any) -> Any:
        finishes.append(body)
        return FINISHED

    async with broken_store(finish=finish) as store:
        running = await ended(store, Counting(said))
    assert [body.get("usage") for body in finishes] == [stored]
    assert running.log.ended


async def test_figures_that_cannot_be_counted_cost_no_turn_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def finish(_: Any) -> Any:
        return FINISHED

    def fail(_: RunningTurn) -> None:
        raise ValueError("counters can only be incremented")

    monkeypatch.setattr(measures, "count_events", fail)
    with structlog.testing.capture_logs() as logs:
        async with broken_store(finish=finish) as store:
            running = await ended(store, Counting(None))
    assert running.log.ended
    assert [entry["event"] for entry in logs] == ["turn not counted"]
