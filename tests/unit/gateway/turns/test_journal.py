"""The journal's writer beside a store that fails at the wrong moment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.journal import Journal
from bobbin_gateway.turns.log import Follower
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.tail import Tail
from bobbin_protocol.threads import ThreadMetadata
from tests.unit.gateway.turns.broken_store import SETTINGS, Away, broken_store

FRAME = b"data: {}\n\n"


def running_turn(turn_id: str, journal: Journal, turns: RunningTurns) -> RunningTurn:
    thread = ThreadMetadata(id=f"thr_{turn_id}", created_at=datetime.now(UTC))
    turn = Turn(id=turn_id, owner_id="ann", thread=thread, history=[], message=None)
    running = RunningTurn(turn, Tail(turn, "gw_1", journal), 1_000_000, lambda _: None)
    turns.add(running)
    return running


def all_written(body: Any) -> dict[str, Any]:
    return {"written": [entry["turn_id"] for entry in body["entries"]]}


async def test_an_outage_that_nobody_waited_out_is_not_held_against_turns_of_later() -> None:
    calls = 0
    failed: asyncio.Queue[None] = asyncio.Queue()

    async def journal_call(body: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            first.tail.close()  # its outcome is on its way: nothing waits for this write any more
        if calls <= 2:
            failed.put_nowait(None)
            raise Away
        return all_written(body)

    async with broken_store(journal=journal_call) as store, asyncio.timeout(10):
        turns = RunningTurns()
        journal = Journal(store, turns, replace(SETTINGS, store_retry_s=0.2))
        writing = asyncio.create_task(journal.run())
        first = running_turn("trn_1", journal, turns)
        first.tail.append(FRAME)
        await failed.get()
        turns.remove(first)
        await asyncio.sleep(0.3)  # longer than an outage may last
        second = running_turn("trn_2", journal, turns)
        second.tail.append(FRAME)
        assert await Follower(second.log, 5.0, safely=True).read() == [FRAME]
        assert not second.stopped.done()
        writing.cancel()


async def test_two_flushes_at_once_call_nothing_safe_that_is_not() -> None:
    under_way: asyncio.Queue[asyncio.Event] = asyncio.Queue()
    sent: list[tuple[int, int]] = []

    async def journal_call(body: Any) -> dict[str, Any]:
        gate = asyncio.Event()
        under_way.put_nowait(gate)
        await gate.wait()
        sent.extend((entry["chunk"]["first"], entry["chunk"]["last"]) for entry in body["entries"])
        return all_written(body)

    async with broken_store(journal=journal_call) as store, asyncio.timeout(10):
        turns = RunningTurns()
        journal = Journal(store, turns, SETTINGS)
        writing = asyncio.create_task(journal.run())
        running = running_turn("trn_1", journal, turns)
        running.tail.append(FRAME)
        gate = await under_way.get()
        running.tail.append(FRAME)
        flushing = asyncio.create_task(journal.flush(5.0))
        await asyncio.sleep(0.1)
        assert under_way.empty()  # what is on its way is not sent once more
        gate.set()
        gate = await under_way.get()
        assert running.log.safe == 1
        gate.set()
        await flushing
        while running.log.safe < 2:  # if it was the writer's own flush that took it
            await Follower(running.log, 5.0, 1, safely=True).read()
        assert sent == [(1, 1), (2, 2)]
        writing.cancel()
