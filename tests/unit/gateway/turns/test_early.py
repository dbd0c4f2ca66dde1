"""Items stored early beside a store that fails: nothing of it reaches the turn."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from bobbin_gateway.agent import Turn
from bobbin_gateway.store import Store
from bobbin_gateway.turns import early
from bobbin_gateway.turns.early import StoringEarly
from bobbin_gateway.turns.journal import Journal
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.tail import Tail
from bobbin_protocol.events import ThreadItemDoneEvent
from bobbin_protocol.items import HiddenContextItem
from bobbin_protocol.problem import Problem
from bobbin_protocol.threads import ThreadMetadata
from tests.unit.gateway.turns.broken_store import SETTINGS, Away, Refused, broken_store


def running_turn(store: Store) -> RunningTurn:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    turn = Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)
    journal = Journal(store, RunningTurns(), SETTINGS)
    return RunningTurn(turn, Tail(turn, "gw_1", journal), 1_000_000, lambda _: None)


def hidden(item_id: str, content: Any = None) -> ThreadItemDoneEvent:
    item = HiddenContextItem(id=item_id, thread_id="thr_1", created_at=datetime.now(UTC), content=content)
    return ThreadItemDoneEvent(item=item)


class Memory:
    """What the store was told: calls one after the other, by the ids and contents of their items."""

    def __init__(self, *, away: int = 0, code: str | None = None) -> None:
        self.calls: list[list[tuple[str, Any]]] = []
        self.away = away
        self.code = code
        self.told = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, body: Any) -> Any:
        assert body["gateway_id"] == "gw_1"
        self.calls.append([(item["id"], item.get("content")) for item in body["items"]])
        self.told.set()
        await self.may_answer.wait()
        if self.away:
            self.away -= 1
            raise Away
        if self.code:
            raise Refused(Problem(title="x", status=409, code=self.code, detail="x", message="x"))  # type: ignore[arg-type] (any of them)
        return None


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (a server of another task)
            await asyncio.sleep(0.005)


async def test_items_that_come_together_are_stored_together_as_they_were() -> None:
    memory = Memory()
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with StoringEarly(store, running):
            content = {"n": 1}
            running.emit(hidden("a", content))
            running.emit(hidden("b"))
            content["n"] = 2
            await memory.told.wait()
            await until(lambda: memory.calls)
            running.emit(hidden("c"))
            await until(lambda: len(memory.calls) > 1)
    assert memory.calls == [[("a", {"n": 1}), ("b", None)], [("c", None)]]
    assert running.log.frames == []


async def test_what_comes_during_a_call_goes_out_with_the_next_and_no_event_waits() -> None:
    memory = Memory()
    memory.may_answer.clear()
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with StoringEarly(store, running):
            running.emit(hidden("a"))
            await memory.told.wait()
            for name in ("b", "c", "b"):
                running.emit(hidden(name, name))
            assert len(memory.calls) == 1
            memory.may_answer.set()
            await until(lambda: len(memory.calls) > 1)
    assert memory.calls == [[("a", None)], [("b", "b"), ("c", "c")]]


@pytest.mark.parametrize(("away", "calls"), [(2, 3), (9, 4)])
async def test_a_store_that_is_away_is_asked_again_a_few_times(
    monkeypatch: pytest.MonkeyPatch, away: int, calls: int
) -> None:
    monkeypatch.setattr(early, "_PAUSES_S", (0.01, 0.01, 0.01))
    memory = Memory(away=away)
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with StoringEarly(store, running):
            running.emit(hidden("a"))
            await until(lambda: len(memory.calls) >= calls)
            await asyncio.sleep(0.1)
    assert memory.calls == [[("a", None)]] * calls
    assert not running.lost


@pytest.mark.parametrize("code", ["lease_lost", "not_found", "conflict", "invalid_request"])
async def test_a_refusal_ends_the_turn_here_only_if_it_is_another_gateways(code: str) -> None:
    memory = Memory(code=code)
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with StoringEarly(store, running):
            running.emit(hidden("a"))
            await memory.told.wait()
        assert running.lost is (code == "lease_lost")
        assert running.stopped.done() is (code == "lease_lost")


async def test_the_end_of_a_turn_waits_for_a_call_under_way_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(early, "_LAST_WAIT_S", 0.2)
    memory = Memory()
    memory.may_answer.clear()
    clock = asyncio.get_running_loop().time
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with StoringEarly(store, running):
            running.emit(hidden("a"))
            await memory.told.wait()
            running.emit(hidden("b"))
            began = clock()
        assert 0.15 < clock() - began < 2
        assert running.keep_early is None
        assert len(memory.calls) == 1, "the finish brings the rest"
        memory.may_answer.set()


async def test_the_end_of_a_turn_does_not_wait_for_a_store_that_is_away() -> None:
    memory = Memory(away=9)
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        async with asyncio.timeout(5):
            async with StoringEarly(store, running):
                running.emit(hidden("a"))
                await until(lambda: len(memory.calls) > 1)
    assert 2 <= len(memory.calls) <= 3


async def test_a_turn_that_fails_leaves_nothing_behind() -> None:
    memory = Memory()
    before = asyncio.all_tasks()
    async with broken_store(items=memory) as store:
        running = running_turn(store)
        with pytest.raises(RuntimeError):  # noqa: PT012 (what fails is the block)
            async with StoringEarly(store, running):
                running.emit(hidden("a"))
                raise RuntimeError("the agent")
    await until(lambda: asyncio.all_tasks() <= before)
