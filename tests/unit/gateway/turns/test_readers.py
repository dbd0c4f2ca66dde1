"""Readers get to their turn, also by a process that does not know yet that it has lost it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bobbin_gateway.turns.desertion import Desertion
from bobbin_gateway.turns.readers import Readers
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.tail import Tail
from bobbin_gateway.turns.watcher import Watcher
from tests.unit.gateway.openai_agent.samples import turn
from tests.unit.gateway.turns.broken_store import SETTINGS, broken_store
from tests.unit.gateway.turns.test_takeover import NoWriter

FRAME = b"data: {}\n\n"


@pytest.mark.parametrize(("after", "here", "position"), [(5, True, 5), (7, False, 7), (9, False, None)])
async def test_who_has_read_further_than_a_turn_got_here_is_taken_where_it_went_on(
    after: int, here: bool, position: int | None
) -> None:
    """This process stood still: another one has ended the turn that seems to run here. Event 9 never was."""

    async def watch(_: Any) -> dict[str, Any]:
        chunk = {"first": 1, "last": 7, "data": FRAME * 7}
        return {"turns": [{"state": "interrupted", "event_count": 7, "journal": [chunk]}]}

    async def join(_: Any) -> dict[str, Any]:
        return {
            "id": "trn_1",
            "thread_id": "thr_1",
            "state": "interrupted",
            "started_at": "2026-01-01T00:00:00Z",
        }

    async with (
        broken_store(watch=watch, join=join) as store,
        asyncio.timeout(10),
        asyncio.TaskGroup() as tasks,
    ):
        turns, watcher = RunningTurns(), Watcher(store, SETTINGS)
        one = turn()
        running = RunningTurn(one, Tail(one, "gw_1", NoWriter()), 10**6, lambda _: None)
        for _ in range(5):
            running.tail.append(FRAME)
        turns.add(running)
        watching = tasks.create_task(watcher.run())
        readers = Readers(turns, watcher, Desertion(store, SETTINGS, tasks), store, SETTINGS)
        source = await readers.come_back(one.owner_id, one.id, after)
        assert (source is running) == here
        assert source.position(after) == position
        source.leave()
        observer = await readers.observe(one.owner_id, one.id, after)
        assert (observer._source.log is running.log) == here
        assert observer.position == (7 if position is None else position)
        observer.leave()
        watching.cancel()
