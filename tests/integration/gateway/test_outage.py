"""The store or its database goes away in the middle of answers: they go on or pause, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from msgspec import Struct, field

from bobbin_store.embedded.server import EmbeddedServer
from tests.client import (
    Client,
    Event,
    answers_of,
    check_event,
    deltas_of,
    errors_of,
    message,
    text_of,
    thread_id_of,
)
from tests.cluster import RESUMABLE, Cluster, Reading, begin, resume
from tests.feeds import listening
from tests.model import model_service
from tests.postgres import readable_folder
from tests.stack import gateway_service, store_service, temporary_data


class Fragile(Struct):
    """A cluster whose store and database a test may break."""

    cluster: Cluster
    database: EmbeddedServer
    data: Path

    def postgres(self) -> list[int]:
        """The processes of the database."""
        processes = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [int(entry.name) for entry in processes if _works_in(entry, self.data)]


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return folder in (process / "cwd").readlink().parents
    except OSError:
        return False


@asynccontextmanager
async def fragile(gateways: int = 2, **settings: str) -> AsyncGenerator[Fragile]:
    """A cluster of its own, its database apart from its store."""
    async with AsyncExitStack() as stack:
        data = stack.enter_context(readable_folder())
        database = EmbeddedServer(data)
        await asyncio.to_thread(database.start)
        stack.push_async_callback(asyncio.to_thread, database.stop)
        stores = stack.enter_context(temporary_data())
        store = store_service(stores, DATABASE_URL=database.dsn, STORE_DATABASE_WAIT_S="60")
        model = model_service()
        services = [gateway_service(store, model, **settings) for _ in range(gateways)]
        for service in (store, model, *services):
            await asyncio.to_thread(service.start)
            stack.push_async_callback(asyncio.to_thread, service.stop)
        yield Fragile(Cluster(store=store, model=model, gateways=services), database, data)


async def store_killed(broken: Fragile, outage_s: float) -> None:
    """Kill -9, and started again after a while."""
    broken.cluster.store.kill()
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(broken.cluster.store.start)


async def store_stopped(broken: Fragile, outage_s: float) -> None:
    """Asked to stop, and started again after a while."""
    assert await asyncio.to_thread(broken.cluster.store.stop) == 0
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(broken.cluster.store.start)


async def store_frozen(broken: Fragile, outage_s: float) -> None:
    """It accepts connections and says nothing."""
    os.killpg(broken.cluster.store.pid, signal.SIGSTOP)
    await asyncio.sleep(outage_s)
    os.killpg(broken.cluster.store.pid, signal.SIGCONT)


async def database_stopped(broken: Fragile, outage_s: float) -> None:
    """The store lives, its database does not."""
    await asyncio.to_thread(broken.database.stop)
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(broken.database.start)


async def database_killed(broken: Fragile, outage_s: float) -> None:
    """Kill -9 of every process of PostgreSQL, which has to recover afterwards."""
    for pid in broken.postgres():
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(broken.database.restart_if_gone)


async def database_frozen(broken: Fragile, outage_s: float) -> None:
    """PostgreSQL takes statements and answers none."""
    frozen = broken.postgres()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(outage_s)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


Outage = Callable[[Fragile, float], Awaitable[None]]
OUTAGES: list[tuple[Outage, float]] = [
    (store_killed, 10),
    (store_stopped, 6),
    (store_frozen, 5),
    (database_stopped, 10),
    (database_killed, 5),
    (database_frozen, 5),
]
"""With their length, s: longer than a lease."""


class Stream(Struct):
    """What a reader without numbers gets, and when."""

    turn_id: str = ""
    events: list[Event] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    silent: int = 0
    """Keep-alives."""

    def during(self, began: float, ended: float) -> int:
        """How many events came between these times."""
        return sum(began < at < ended for at in self.at)


async def read(http: httpx.AsyncClient, body: dict[str, object], stream: Stream) -> None:
    """Send a request and read its answer, as unmodified chatkit.js does; what it is is checked at its end."""
    async with http.stream("POST", "/chatkit", json=body, timeout=60) as response:
        assert response.status_code == 200, await response.aread()
        stream.turn_id = response.headers.get("chatkit-turn-id", "")
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                stream.events.append(json.loads(line[6:]))
                stream.at.append(time.monotonic())
            elif line:
                assert line == ": ping"
                stream.silent += 1
    for event in stream.events:
        check_event(event)


def create(text: str, model: str) -> dict[str, object]:
    return {"type": "threads.create", "params": {"input": message(text, model=model)}}


async def stored(cluster: Cluster, turn_id: str) -> tuple[str, list[str]]:
    """How a turn ended, and the answers that are stored of it."""
    async with cluster.store_http() as http:
        turn = (await http.get(f"/v1/turns/{turn_id}")).json()
        items = (await http.get(f"/v1/turns/{turn_id}/items")).json()["items"]
    return turn["state"], [text_of(item) for item in items if item["type"] == "assistant_message"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("outage", "outage_s"), OUTAGES)
async def test_fifty_answers_outlive_an_outage(outage: Outage, outage_s: float) -> None:
    """25 of them have numbers, and 10 of those are read on another gateway than their own.

    The lease is short: afterwards no gateway may take the turns of another that just could not renew it.
    """
    deltas = int(10 * (outage_s + 6))
    model = f"script:deltas={deltas}&delay_ms=100"
    async with fragile(LEASE_S="4", STORE_RETRY_S="60") as broken, AsyncExitStack() as stack:
        cluster = broken.cluster
        limits = httpx.Limits(max_connections=None)
        http = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits)
            )
            for gateway in cluster.gateways
        ]
        streams, readings = [Stream() for _ in range(25)], [Reading() for _ in range(25)]
        reading = [
            asyncio.create_task(read(http[n % 2], create(f"Stream {n}", model), stream))
            for n, stream in enumerate(streams)
        ]
        reading += [
            asyncio.create_task(
                _read_here_or_there(http[n % 2], http[(n + (n < 10)) % 2], create(f"Reader {n}", model), one)
            )
            for n, one in enumerate(readings)
        ]
        async with asyncio.timeout(30):
            while min(len(one.events) for one in [*streams, *readings]) <= 10:  # noqa: ASYNC110 (other processes)
                await asyncio.sleep(0.05)
        began, before = time.monotonic(), [len(one.events) for one in readings]
        breaking = asyncio.create_task(outage(broken, outage_s))
        await asyncio.sleep(outage_s * 0.9)
        ended = time.monotonic()
        paused = [len(one.events) - count for one, count in zip(readings, before, strict=True)]
        await breaking
        await asyncio.gather(*reading)
        ends = [await stored(cluster, one.turn_id) for one in [*streams, *readings]]
        logs = [gateway.log() for gateway in cluster.gateways]

    for stream in streams:  # they went on, all or to their end
        until = min(ended, stream.at[-1])
        assert stream.during(began + 1, until) > 5 * (until - began - 2)
    assert max(paused) < 5 * (outage_s - 2)  # they did not
    for one in readings:
        one.check()
        assert one.unnumbered == []
    for one, (state, answers) in zip([*streams, *readings], ends, strict=True):
        assert state == "completed"
        assert errors_of(one.events) == []
        assert answers_of(one.events) == answers == [deltas_of(one.events)]
        assert len(answers[0]) == 4 * deltas
    assert not [log for log in logs if "taken over" in log or "lease lost" in log or "Traceback" in log]


async def _read_here_or_there(
    here: httpx.AsyncClient, there: httpx.AsyncClient, body: dict[str, object], one: Reading
) -> None:
    if await begin(here, body, one, events=5 if there is not here else 10**9):
        return
    assert await resume(there, one)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("outage", [store_killed, database_stopped])
async def test_who_asks_during_an_outage_waits_and_is_answered(outage: Outage) -> None:
    settings = {"KEEPALIVE_S": "0.5", "BEGIN_RETRY_S": "60"}
    async with fragile(1, **settings) as broken, broken.cluster.client().http as http:
        breaking = asyncio.create_task(outage(broken, 4))
        stream, reading = Stream(), Reading()
        listing = {"type": "threads.list", "params": {}}
        while (listed := await http.post("/chatkit", json=listing)).status_code != 503:
            assert listed.status_code == 200
            assert not breaking.done()
        assert listed.headers["retry-after"]
        strict = http.post(
            "/chatkit", json=create("C", "script:text=c"), headers={"prefer": "handling=strict"}
        )
        _, _, answer = await asyncio.gather(
            read(http, create("A", "script:text=a"), stream),
            begin(http, create("B", "script:text=b"), reading),
            strict,
        )
        await breaking
        ends = [await stored(broken.cluster, turn_id) for turn_id in (stream.turn_id, reading.turn_id)]
        threads = (await Client(http).call("threads.list"))["data"]
    assert ends == [("completed", ["a"]), ("completed", ["b"])]
    assert answers_of(stream.events) == ["a"]
    assert stream.silent >= 3
    assert answers_of(reading.events) == ["b"]
    assert answer.status_code == 200
    assert '"text":"c"' in answer.text
    assert len(threads) == 3  # each was heard once


@pytest.mark.timeout(120)
@pytest.mark.parametrize("outage", [store_killed, database_stopped])
async def test_who_comes_back_or_opens_a_feed_during_an_outage_hears_all_after_it(outage: Outage) -> None:
    """An error would end a browser's EventSource for good. The turn lasts until they hear of it."""
    async with (
        fragile(2, KEEPALIVE_S="0.5", LEASE_S="3") as broken,
        broken.cluster.client(0).http as here,
        broken.cluster.client(1).http as there,
    ):
        reading = Reading()
        await begin(here, create("A", "script:deltas=2000&delay_ms=50"), reading, events=10)
        breaking = asyncio.create_task(outage(broken, 4))
        await asyncio.sleep(0.5)
        own_path = f"/chatkit/threads/{thread_id_of(reading.events)}/events"
        async with listening(there) as feed, listening(there, own_path) as own_feed:
            elsewhere = Reading(turn_id=reading.turn_id)
            resumed = asyncio.gather(resume(here, reading), resume(there, elsewhere))
            await breaking
            for heard in (feed, own_feed):
                await heard.until(lambda now: bool(now.of_turn(reading.turn_id)))
            (await here.post(f"/chatkit/turns/{reading.turn_id}/cancel")).raise_for_status()
            ended = await resumed
            for heard in (feed, own_feed):
                await heard.until(lambda now: len(now.of_turn(reading.turn_id)) == len(reading.events))
                assert heard.of_turn(reading.turn_id) == reading.events
                assert heard.connections == 1
    assert all(ended)
    reading.check()
    assert elsewhere.events == reading.events
    assert [deltas_of(reading.events)] == answers_of(reading.events)


@pytest.mark.timeout(120)
async def test_who_asks_in_vain_is_told_to_try_again() -> None:
    async with fragile(1, BEGIN_RETRY_S="1") as broken, broken.cluster.client().http as http:
        broken.cluster.store.kill()
        stream = Stream()
        await read(http, create("A", "script:text=a"), stream)
        strict = await http.post(
            "/chatkit", json=create("B", "script:text=b"), headers={"prefer": "handling=strict"}
        )
        await asyncio.to_thread(broken.cluster.store.start)
        again = await Client(http).create("Again", model="script:text=here")
    assert [error["allow_retry"] for error in errors_of(stream.events)] == [True]
    assert strict.status_code == 503
    assert strict.headers["retry-after"]
    assert answers_of(again) == ["here"]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("outage", [store_killed, database_frozen])
async def test_an_outage_longer_than_the_budget_is_said_and_what_was_journalled_is_kept(
    outage: Outage,
) -> None:
    model = "script:deltas=2000&delay_ms=20"
    settings = {"STORE_RETRY_S": "2", "LEASE_S": "2", "STORE_TIMEOUT_S": "2"}
    async with fragile(2, **settings) as broken, AsyncExitStack() as stack:
        here = await stack.enter_async_context(broken.cluster.client(0).http)
        there = await stack.enter_async_context(broken.cluster.client(1).http)
        near = await stack.enter_async_context(listening(here))
        far = await stack.enter_async_context(listening(there))
        stream, reading = Stream(), Reading()
        readers = asyncio.gather(
            read(here, create("Stream", model), stream), begin(here, create("Reader", model), reading)
        )
        async with asyncio.timeout(20):
            while len(reading.events) <= 25:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.01)
        breaking = asyncio.create_task(outage(broken, 12))
        await asyncio.wait_for(asyncio.shield(readers), 11)  # told while the store is still away
        assert [error["allow_retry"] for error in errors_of(stream.events)] == [True]
        assert [error["allow_retry"] for error in errors_of(reading.unnumbered)] == [True]
        seen = len(reading.events)
        assert seen > 20
        await breaking
        back = time.monotonic()
        for turn_id in (stream.turn_id, reading.turn_id):
            for tab in (near, far):
                await tab.until(lambda now, turn_id=turn_id: bool(errors_of(now.of_turn(turn_id))), 20)
        took = time.monotonic() - back
        ends = [await stored(broken.cluster, turn_id) for turn_id in (stream.turn_id, reading.turn_id)]
        assert await resume(there, reading)
        again = await Client(here).say(str(near.heard[0].thread_id), "Again", model="script:text=here")
    print(f"ended {took:.1f} s after the store was back")  # noqa: T201 (the figure)
    reading.check()
    assert [state for state, _ in ends] == ["interrupted", "interrupted"]
    assert deltas_of(stream.events).startswith(ends[0][1][0])
    assert ends[1][1] == [deltas_of(reading.events)] == answers_of(reading.events)
    for tab in (near, far):
        assert tab.of_turn(reading.turn_id) == reading.events
        assert answers_of(tab.of_turn(stream.turn_id)) == ends[0][1]
    assert answers_of(again) == ["here"]


@pytest.mark.timeout(90)
async def test_agents_wait_while_the_journal_is_full() -> None:
    """What waits for the store is bounded, also for answers that nobody reads with numbers."""
    model = "script:deltas=1000&size=100&delay_ms=10"
    async with fragile(1, JOURNAL_BUFFER_BYTES="65536") as broken, AsyncExitStack() as stack:
        http = await stack.enter_async_context(broken.cluster.client(0).http)
        streams = [Stream() for _ in range(4)]
        readers = asyncio.gather(
            *(read(http, create(f"Stream {n}", model), one) for n, one in enumerate(streams))
        )
        async with asyncio.timeout(30):
            while min(len(one.events) for one in streams) <= 10:  # noqa: ASYNC110 (other processes)
                await asyncio.sleep(0.05)
        broken.cluster.store.kill()
        killed = time.monotonic()
        await _nothing_comes(streams)
        full = time.monotonic()
        await asyncio.sleep(2)
        still = time.monotonic()
        await asyncio.to_thread(broken.cluster.store.start)
        await readers
        ends = [await stored(broken.cluster, one.turn_id) for one in streams]
    assert sum(one.during(full, still) for one in streams) == 0
    buffered = sum(one.during(killed, full) for one in streams)
    print(f"{buffered} events came during the outage")  # noqa: T201 (the figure)
    assert 0 < buffered < 2 * 65536 / 100
    for one, (state, answers) in zip(streams, ends, strict=True):
        assert state == "completed"
        assert errors_of(one.events) == []
        assert answers == answers_of(one.events) == [deltas_of(one.events)]
        assert len(answers[0]) == 100_000


async def _nothing_comes(streams: list[Stream]) -> None:
    """Wait until nothing has come for a second."""
    looks, before = 0, 0
    async with asyncio.timeout(30):
        while looks < 20:
            await asyncio.sleep(0.05)
            events = sum(len(one.events) for one in streams)
            looks, before = looks + 1 if events == before else 0, events


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("megabytes", "kept"), [(8, True), (24, False)])
async def test_an_answer_that_the_store_refuses_ends_all_the_same(megabytes: int, *, kept: bool) -> None:
    """Its items are stored if they can be, else that is said; the thread can be used again, others go on."""
    settings = {"MAX_OUTPUT_BYTES": "100000000", "LEASE_S": "1"}
    async with fragile(1, **settings) as broken, AsyncExitStack() as stack:
        http = await stack.enter_async_context(broken.cluster.client(0).http)
        tab = await stack.enter_async_context(listening(http))
        other = asyncio.create_task(Client(http).create("Other", model="script:deltas=50&delay_ms=50"))
        chat, large = Client(http, RESUMABLE), f"script:deltas={megabytes * 200}&size=5000"
        seen = await chat.create("Too much", model=large)
        await tab.until(lambda now: len(now.of_thread(thread_id_of(seen))) >= len(seen) - 3, 20)
        turn_id = next(str(one.turn_id) for one in tab.heard if one.thread_id == thread_id_of(seen))
        async with asyncio.timeout(10):
            while (await stored(broken.cluster, turn_id))[0] == "running":  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.1)
        state, answers = await stored(broken.cluster, turn_id)
        again = await Client(http).say(thread_id_of(seen), "Again", model="script:text=here")
        assert errors_of(await other) == []
        log = broken.cluster.gateways[0].log()
    assert bool(errors_of(seen)) is not kept
    assert (state, answers) == (("completed", [deltas_of(seen)]) if kept else ("failed", []))
    assert answers_of(again) == ["here"]
    assert log.count("refused by the store") <= 2
    assert "journal not written" not in log
