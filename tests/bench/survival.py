"""What it costs to survive: coming back to a turn, the journal, and the memory of turns that have ended."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from statistics import median

from msgspec import Struct

from bobbin_store.database import connect
from tests.bench.client import BrokenRun, Request, closed_loop, connections
from tests.bench.cost import Meter
from tests.bench.figures import Figures
from tests.bench.servers import CONNECT_TIMEOUT_S, MESSAGE, Servers
from tests.processes import running
from tests.stack import gateway_service

RESUME_SCRIPT = "deltas=400&delay_ms=10"
RESUMED_AFTER = 20
"""Events that a reader has when it loses its connection."""
JOURNAL_SCRIPT = "deltas=60&delay_ms=250"
"""Turns that outlast the measurement: four deltas a second each, as a slow model gives them."""
SPREAD_S = 3.1
"""The turns begin one after the other, so that they speak at all times."""
SETTLE_S = 2.0
JOURNAL_WINDOW_S = 6.0
TIMEOUT_S = 30.0
"""Longest wait for a byte."""

# How many transactions have written to the journal (each is one call of a gateway), and how many chunks.
WRITTEN = "SELECT count(DISTINCT xmin::text) AS calls, count(*) AS chunks FROM bobbin.journal"


class FirstByte(Struct):
    """How long the first event of an answer took, and whose it is."""

    seconds: float
    turn_id: str


async def measure_resume(servers: Servers, figures: Figures, times: int) -> None:
    """Time to the first event: of a fresh request, and of coming back on the same and on another gateway."""
    with ExitStack() as stack:
        other = stack.enter_context(running(gateway_service(servers.store, servers.model)))
        ports = {"same gateway": servers.ours.port, "another gateway": other.port}
        seconds: dict[str, list[float]] = {}
        for _ in range(times):
            fresh = await _first_event(servers.ours.port, _post(RESUME_SCRIPT))
            seconds.setdefault("fresh", []).append(fresh.seconds)
            await asyncio.sleep(0.3)  # until there is something to come back to
            for name, port in ports.items():
                back = await _first_event(port, _get(fresh.turn_id, RESUMED_AFTER))
                seconds.setdefault(name, []).append(back.seconds)
    for name, values in seconds.items():
        figures.add("ours", f"first event, {name}", median(values))


async def measure_journal(servers: Servers, figures: Figures, turns: int) -> None:
    """Calls to the store and CPU per second while so many turns run."""
    database = await connect(servers.dsn, CONNECT_TIMEOUT_S)
    try:
        async with connections(servers.ours.port, turns) as clients:
            request = servers.ours.create(JOURNAL_SCRIPT)
            for client in clients:
                client.send(request)
                await asyncio.sleep(SPREAD_S / turns)
            await asyncio.sleep(SETTLE_S)
            before, meter = await database.fetchrow(WRITTEN), Meter(servers.ours.trees)
            began = time.perf_counter()
            await asyncio.sleep(JOURNAL_WINDOW_S)
            seconds = time.perf_counter() - began
            parts = {part: spent / seconds for part, spent in meter.read().items()}
            after = await database.fetchrow(WRITTEN)
        assert before is not None and after is not None  # noqa: PT018 (a count is always there)
        for what in ("calls", "chunks"):
            figures.add("ours", f"journal of {turns}/{what}", (after[what] - before[what]) / seconds)
        figures.add_parts("ours", f"journal of {turns}/cpu", parts)
    finally:
        await database.close()


async def measure_leftovers(servers: Servers, figures: Figures, steps: tuple[int, int]) -> None:
    """Memory of the gateway after so many turns have ended, and after so many more."""
    done = 0
    for step in steps:
        async with connections(servers.ours.port, 16) as clients:
            await closed_loop(clients, step - done, lambda _: servers.ours.create("deltas=20"))
        done = step
        figures.add("ours", f"gateway after {step} turns", servers.ours.trees["gateway"].memory())


def _post(script: str) -> Request:
    body = json.dumps(
        {
            "type": "threads.create",
            "params": {
                "input": {
                    "content": [{"type": "input_text", "text": MESSAGE}],
                    "attachments": [],
                    "inference_options": {"model": f"script:{script}"},
                }
            },
        }
    ).encode()
    head = (
        "POST /chatkit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"chatkit-resumable: 1\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return Request(data=head.encode() + body, marker=b"", deltas=0)


def _get(turn_id: str, after: int) -> Request:
    head = f"GET /chatkit/turns/{turn_id}/events?after={after} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    return Request(data=head.encode(), marker=b"", deltas=0)


async def _first_event(port: int, request: Request) -> FirstByte:
    """Send a request on a connection of its own, read until an event is there, and hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        received = b""
        began = time.perf_counter()
        writer.write(request.data)
        async with asyncio.timeout(TIMEOUT_S):
            while b"\ndata: " not in received:
                piece = await reader.read(65_536)
                if not piece:
                    raise BrokenRun(f"no event in {received!r}")
                received += piece
        seconds = time.perf_counter() - began
    finally:
        writer.transport.abort()
    head = received.lower()
    start = head.index(b"chatkit-turn-id: ") + len(b"chatkit-turn-id: ")
    return FirstByte(seconds, head[start : head.index(b"\r", start)].decode())
