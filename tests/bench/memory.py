"""Memory that an open stream takes."""

from __future__ import annotations

import asyncio
import time

from tests.bench.client import Answer, BrokenRun, connections
from tests.bench.figures import Figures
from tests.bench.servers import Target

SCRIPT = "deltas=20&stall_after=5"
"""In the midst of an answer; nothing more comes."""
BATCH = 25
TIMEOUT_S = 30.0


async def measure_memory(target: Target, figures: Figures, steps: tuple[int, ...]) -> None:
    """Growth per stream of the server's processes, from none to so many open ones.

    The database is left out: its connections are pooled. The ceiling has no model to wait for: it waits.
    """
    script = SCRIPT if target.name != "ceiling" else "deltas=20&first_ms=3600000"
    expected = 5 if target.name != "ceiling" else 0
    trees = {part: tree for part, tree in target.trees.items() if part != "postgres"}
    before = {part: tree.memory() for part, tree in trees.items()}
    request = target.create(script)
    async with connections(target.port, max(steps)) as clients:
        answers: list[Answer] = []
        for step in steps:
            for start in range(len(answers), step, BATCH):
                answers += [client.send(request) for client in clients[start : min(start + BATCH, step)]]
                await _arrived(answers, expected)
            growth = {part: (tree.memory() - before[part]) / step for part, tree in trees.items()}
            figures.add_parts(target.name, f"open stream of {step}", growth)


async def _arrived(answers: list[Answer], deltas: int) -> None:
    """Wait until each stream has come as far as it comes."""
    deadline = time.monotonic() + TIMEOUT_S
    while not all(b"stream_options" in answer.body and answer.deltas == deltas for answer in answers):
        for answer in answers:
            if answer.ended.done():
                answer.ended.result()
                raise BrokenRun("a stream that should wait has ended")
        if time.monotonic() > deadline:
            raise BrokenRun(f"streams do not open: {answers[-1].body!r}")
        await asyncio.sleep(0.01)
