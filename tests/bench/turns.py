"""CPU of turns and of deltas."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.client import Answer, BrokenRun, Connection, Request, closed_loop, connections
from tests.bench.cost import Meter
from tests.bench.figures import Figures
from tests.bench.servers import Target


class Load(NamedTuple):
    """A number of clients that each ask for one turn after another."""

    name: str
    at_once: int
    script: str


TURN = "deltas=20"
ONE_BY_ONE = Load("turn at 1", 1, TURN)
FULL_SPEED = Load("turn at 16", 16, TURN)
PACED = Load("paced turn at 16", 16, "deltas=20&delay_ms=5")
LOADS = (ONE_BY_ONE, FULL_SPEED, PACED)

WARM_CLIENTS = 32
"""At least as many as any part has ask at the same moment: pools are then as large as they get."""
BURST = "per_write=100"
STEADY_STREAMS = 64
STEADY_DELAY_S = 0.04
STEADY_WARM_DELTAS = 5
MESSAGES_BEFORE_TENTH = 9
SETTLE_S = 0.1
"""After the last answer: what a server still does for it counts as well."""


async def warm_up(target: Target, turns: int) -> None:
    """Have connections, statements and code paths in place before anything is measured."""
    async with connections(target.port, WARM_CLIENTS) as clients:
        await closed_loop(clients, turns, lambda _: target.create(TURN))


async def measure_turns(target: Target, figures: Figures, load: Load, turns: int) -> None:
    """CPU of whole turns of 20 deltas, each in a new thread."""
    async with connections(target.port, load.at_once) as clients:
        requests = [target.create(load.script)] * turns
        answers, seconds = await _cost(target, clients, figures, load.name, requests)
    if load is FULL_SPEED:
        figures.add(target.name, "turns/s", turns / seconds)
        figures.add(target.name, "events/s", answers[0].events * turns / seconds)


async def open_threads(target: Target, count: int) -> list[str]:
    """Threads that each hold nine messages and their answers."""
    async with connections(target.port, 8) as clients:
        created = await closed_loop(clients, count, lambda _: target.create(TURN))
        threads = [_thread_id(answer) for answer in created]
        for _ in range(MESSAGES_BEFORE_TENTH - 1):
            await closed_loop(clients, count, lambda index: target.say(threads[index], TURN))
    return threads


async def measure_long_threads(target: Target, figures: Figures, threads: dict[str, list[str]]) -> None:
    """CPU of a turn that adds a message to a thread of `open_threads`; nothing for a server that has none."""
    if target.name not in threads:
        return
    async with connections(target.port, 8) as clients:
        requests = [target.say(thread, TURN) for thread in threads[target.name]]
        await _cost(target, clients, figures, "tenth message", requests)


async def _cost(
    target: Target, clients: Sequence[Connection], figures: Figures, name: str, requests: list[Request]
) -> tuple[list[Answer], float]:
    """CPU seconds per turn, by part; gives the answers and the time they took in all."""
    meter, begun = Meter(target.trees), time.perf_counter()
    answers = await closed_loop(clients, len(requests), requests.__getitem__)
    seconds = time.perf_counter() - begun
    await asyncio.sleep(SETTLE_S)
    cost = {part: spent / len(requests) for part, spent in meter.read().items()}
    figures.add_parts(target.name, name, cost)
    return answers, seconds


async def measure_burst_deltas(target: Target, figures: Figures, scale: int) -> None:
    """CPU per delta when they come many at once: what turns of more deltas cost more than those of 20."""
    cost: dict[int, dict[str, float]] = {}
    for deltas, turns in ((20, 6 * scale), (200, 4 * scale), (1000, 2 * scale)):
        request = target.create(f"deltas={deltas}&{BURST}")
        async with connections(target.port, 4) as clients:
            meter = Meter(target.trees)
            await closed_loop(clients, turns, lambda _, request=request: request)
            await asyncio.sleep(SETTLE_S)
            cost[deltas] = {part: spent / turns for part, spent in meter.read().items()}
    for deltas in (200, 1000):
        more = {part: (cost[deltas][part] - cost[20][part]) / (deltas - 20) for part in target.trees}
        figures.add_parts(target.name, f"burst delta of {deltas}", more)


async def measure_single_deltas(target: Target, figures: Figures, window_s: float) -> None:
    """CPU per delta when each comes alone, on many streams at once; for a while amid their answers."""
    deltas = round((window_s + 3) / STEADY_DELAY_S)
    request = target.create(f"deltas={deltas}&delay_ms={STEADY_DELAY_S * 1000:g}")
    async with connections(target.port, STEADY_STREAMS) as clients:
        answers = [client.send(request) for client in clients]
        while min(answer.deltas for answer in answers) < STEADY_WARM_DELTAS:
            await asyncio.sleep(0.01)
            _check_running(answers)
        meter, before = Meter(target.trees), sum(answer.deltas for answer in answers)
        await asyncio.sleep(window_s)
        cost, seen = meter.read(), sum(answer.deltas for answer in answers) - before
        _check_running(answers)
        figures.add_parts(target.name, "single delta", {part: spent / seen for part, spent in cost.items()})
        await asyncio.gather(*(answer.ended for answer in answers))


def _check_running(answers: list[Answer]) -> None:
    for answer in answers:
        if answer.ended.done():
            answer.ended.result()
            raise BrokenRun(
                "an answer ended before the others had begun: the streams did not run side by side"
            )


def _thread_id(answer: Answer) -> str:
    found = re.search(rb'"thread":\{"id":"([^"]+)"', answer.body)
    if not found:
        raise BrokenRun(f"no thread in {answer.body[:500]!r}")
    return found[1].decode()
