"""Several worker processes on each side: whichever gets a request, and whichever dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import psutil
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, message, thread_id_of
from tests.cluster import Reading, begin, resume
from tests.model import model_service
from tests.processes import Service, running, workers_of
from tests.stack import Stack, gateway_service, store_service, temporary_data

pytestmark = pytest.mark.timeout(180)

LONG = "script:deltas=60&delay_ms=25"


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Three workers on each side, all of which serve."""
    with ExitStack() as parts:
        data = parts.enter_context(temporary_data())
        store = parts.enter_context(running(store_service(data, STORE_WORKERS="3", LOG_FORMAT="json")))
        model = parts.enter_context(running(model_service()))
        gateway = gateway_service(store, model, GATEWAY_WORKERS="3", LEASE_S="3", LOG_FORMAT="json")
        parts.enter_context(running(gateway))
        for service in (store, gateway):
            deadline = time.monotonic() + 20
            while len(serving(service)) < 3:
                assert time.monotonic() < deadline, service.log()
                time.sleep(0.05)
        yield Stack(store=store, model=model, gateway=gateway)


@asynccontextmanager
async def connection(gateway: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A connection of its own, so that the kernel may give it to any worker."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield http


def serving(service: Service) -> set[int]:
    """Those workers that the kernel gives connections to."""
    pids: set[int] = set()
    for worker in workers_of(service):
        with suppress(psutil.NoSuchProcess):
            listening = [one for one in worker.net_connections() if one.status == psutil.CONN_LISTEN]
            if service.port in {one.laddr.port for one in listening}:
                pids.add(worker.pid)
    return pids


def request(**options: Any) -> dict[str, Any]:
    return {"type": "threads.create", "params": {"input": message("Hello", **options)}}


async def test_a_turn_is_followed_on_whichever_worker(stack: Stack) -> None:
    """Twelve readers change their connection again and again; each sees every event once."""

    async def follow() -> Reading:
        read = Reading()
        async with connection(stack.gateway) as http:
            ended = await begin(http, request(model=LONG), read, events=5)
        while not ended:
            async with connection(stack.gateway) as http:
                ended = await resume(http, read, events=15)
        return read

    readings = await asyncio.gather(*(follow() for _ in range(12)))
    for read in readings:
        read.check()
        assert errors_of(read.events) == []
        assert answers_of(read.events) == [deltas_of(read.events)]
    parents = [line for line in stack.gateway.log().splitlines() if json.loads(line)["event"] == "settings"]
    assert len(parents) == 1, "the settings are told once, not by each worker"


@pytest.mark.parametrize("side", ["gateway", "store"])
async def test_a_killed_worker_is_replaced_and_its_turns_end(stack: Stack, side: str) -> None:
    service: Service = getattr(stack, side)
    before = serving(service)
    assert len(before) == 3
    victim = psutil.Process(min(before))
    begun = asyncio.Semaphore(0)

    async def converse() -> Reading:
        read = Reading()
        async with connection(stack.gateway) as http:
            await begin(http, request(model=LONG), read, events=10)
        begun.release()
        deadline, ended = time.monotonic() + 30, False
        while not ended:
            assert time.monotonic() < deadline
            try:
                async with connection(stack.gateway) as http:
                    ended = await resume(http, read)
            except httpx.TransportError:  # it was on the worker that has died
                await asyncio.sleep(0.05)
        return read

    async def kill() -> None:
        for _ in range(9):
            await begun.acquire()
        victim.kill()

    *readings, _ = await asyncio.gather(*(converse() for _ in range(9)), kill())
    for read in readings:
        read.check()
        assert len(errors_of(read.events)) <= (side == "gateway"), "a turn may end with its worker, once"
    assert any(errors_of(read.events) == [] for read in readings)
    await until_workers(service, 3, without=victim.pid)
    async with connection(stack.gateway) as http:
        assert errors_of(await Client(http).create("Hello", model="script:text=again")) == []


async def test_workers_end_with_their_parent(stack: Stack) -> None:
    """Nobody would look after them, and the port would be theirs and the next gateway's."""
    orphans = workers_of(stack.gateway)
    psutil.Process(stack.gateway.pid).kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, orphans, timeout=10)
    assert (len(orphans), alive) == (3, [])


async def until_workers(service: Service, count: int, *, without: int) -> None:
    async with asyncio.timeout(30):
        while len(found := serving(service)) != count or without in found:  # noqa: ASYNC110 (processes)
            await asyncio.sleep(0.05)


async def test_a_stop_lets_the_turns_of_all_workers_end(stack: Stack) -> None:
    begun = asyncio.Semaphore(0)

    async def converse() -> list[dict[str, Any]]:
        async with connection(stack.gateway) as http:
            body = message("Hello", model="script:deltas=40&delay_ms=25")
            async with Client(http).stream("threads.create", input=body) as events:
                seen = [await anext(events)]
                begun.release()
                return [*seen, *[event async for event in events]]

    conversing = [asyncio.create_task(converse()) for _ in range(9)]
    for _ in conversing:
        await begun.acquire()
    os.kill(stack.gateway.pid, signal.SIGTERM)
    for events in await asyncio.gather(*conversing):
        assert errors_of(events) == []
        assert answers_of(events) == [deltas_of(events)]
        assert thread_id_of(events)
    assert await asyncio.to_thread(stack.gateway.wait) == 0
    assert await asyncio.to_thread(stack.store.stop) == 0
    assert "Traceback" not in stack.gateway.log() + stack.store.log()
