"""Gateways that stop, die and come back behind the proxies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, thread_id_of
from tests.cluster import RESUMABLE, Reading, begin, resume
from tests.integration.proxies.conftest import Site
from tests.processes import Service, free_port, running
from tests.proxies import ADDRESSES, NAMES, Names, Proxy, answers_cut, proxy_service
from tests.stack import gateway_service, temporary_data
from tests.turns import create, unique

pytestmark = pytest.mark.timeout(180)

Key = tuple[str, bool, int]

DRAIN_NOTICE_S = 5
"""As the proxies' files ask for it: HAProxy's for the longest."""
PAUSE_S = 4
"""How long whoever restarts gateways waits after one is ready: longer than it takes the proxies to see it."""
TALK = "script:deltas=30&delay_ms=40"
LONG = "script:deltas=400&delay_ms=100"


class Own:
    """Gateways and proxies of a test's own, before the store and the model of all."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self.port = free_port()
        folder = stack.enter_context(temporary_data())
        self.names = stack.enter_context(running(Names(folder, ADDRESSES[:2])))
        self.proxies = [
            proxy_service(name, folder, self.port, self.names, http2=http2)
            for name in NAMES
            for http2 in (False, True)
        ]

    def gateway(self, host: str) -> Service:
        """A gateway at this address; it stops at the end of the test."""
        one = gateway_service(
            self._site.cluster.store,
            self._site.cluster.model,
            self.port,
            GATEWAY_HOST=host,
            DRAIN_NOTICE_S=str(DRAIN_NOTICE_S),
            SHUTDOWN_GRACE_S="5",
            KEEPALIVE_S="0.5",
            LEASE_S="3",
        )
        self._stack.callback(one.stop)
        return one

    def start_proxies(self) -> None:
        """Start them, once there is a gateway."""
        for proxy in self.proxies:
            self._stack.enter_context(running(proxy))


@pytest.fixture
def own(site: Site) -> Iterator[Own]:
    with ExitStack() as stack:
        yield Own(site, stack)


async def test_a_rolling_restart_refuses_no_request_and_cuts_no_answer(own: Own) -> None:
    """Each gateway is followed by one at another address, as a new container is."""
    old = [own.gateway(host) for host in ADDRESSES[:2]]
    new = [own.gateway(host) for host in ADDRESSES[2:]]
    for gateway in old:
        await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(own.start_proxies)
    over = asyncio.Event()
    cut: list[str] = []
    users = {
        (proxy.name, proxy.speaks_http2, number): asyncio.create_task(
            _keep_talking(proxy, number, over.is_set, cut)
        )
        for proxy in own.proxies
        for number in range(3)
    }
    for index in range(2):
        await asyncio.sleep(PAUSE_S)
        assert await asyncio.to_thread(old[index].stop) == 0
        there = [*ADDRESSES[2 : 2 + index], *ADDRESSES[1 + index : 2]]
        own.names.tell(there)
        starting = asyncio.create_task(asyncio.to_thread(new[index].start))
        own.names.tell([*there, ADDRESSES[2 + index]])  # known before it is ready, as in Docker
        await starting
    await asyncio.sleep(PAUSE_S)
    over.set()
    done = await asyncio.gather(*users.values(), return_exceptions=True)
    assert {user: end for user, end in zip(users, done, strict=True) if isinstance(end, BaseException)} == {}
    assert min(end for end in done if isinstance(end, int)) > 5, done
    logs = [proxy.log() for proxy in own.proxies if proxy.name == "caddy"]
    assert len(cut) <= sum(map(answers_cut, logs)), (cut, *logs)


async def _keep_talking(proxy: Proxy, number: int, is_over: Callable[[], bool], cut: list[str]) -> int:
    """Say something, hear the answer, say more: how many turns there were. Notes what Caddy may have cut."""
    turns, thread_id = 0, ""
    async with proxy.client() as http:
        chat = Client(http, RESUMABLE if number % 2 else {})
        while not is_over():
            if turns % 3 == 0 or not thread_id:
                events = await chat.create(unique("Hello"), model=TALK)
                thread_id = thread_id_of(events)
            else:
                events = await chat.say(thread_id, unique("More"), model=TALK)
            assert errors_of(events) == []
            if proxy.name == "caddy" and not answers_of(events):
                cut.append(f"{proxy.url} user {number} turn {turns}: {deltas_of(events)!r}")
                thread_id = ""
                continue
            assert answers_of(events) == [deltas_of(events)]
            assert len(deltas_of(events)) == 120
            turns += 1
    return turns


async def test_who_read_from_a_gateway_that_dies_goes_on_with_another(own: Own) -> None:
    """Requests of this very moment may have been heard by it (502); those that follow go where they can."""
    dying, staying = (own.gateway(host) for host in ADDRESSES[:2])
    for gateway in (dying, staying):
        await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(own.start_proxies)
    readings = {(proxy.name, proxy.speaks_http2, n): Reading() for proxy in own.proxies for n in range(3)}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.client()) for proxy in own.proxies for _ in range(3)]
        tasks = [
            asyncio.create_task(_read_on(http, reading))
            for http, reading in zip(clients, readings.values(), strict=True)
        ]
        try:
            await _all_reach(readings, dict.fromkeys(readings, 5))
            dying.kill()
            await asyncio.gather(*map(_say_hello, clients))
            # who was cut off is told by the other gateway how that turn ended; the others just go on
            await _all_reach(readings, {key: len(one.events) + 5 for key, one in readings.items()})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    for reading in readings.values():
        reading.check()
    lost = [key for key, reading in readings.items() if _is_told_of_an_error(reading)]
    assert 0 < len(lost) < len(readings), lost


async def _all_reach(readings: dict[Key, Reading], counts: dict[Key, int], within_s: float = 20) -> None:
    """Wait until each has read so many events, or has been told of an error."""
    deadline = time.monotonic() + within_s
    while short := {
        key: one
        for key, one in readings.items()
        if len(one.events) < counts[key] and not _is_told_of_an_error(one)
    }:
        assert time.monotonic() < deadline, [(key, counts[key], one) for key, one in short.items()]
        await asyncio.sleep(0.05)


def _is_told_of_an_error(reading: Reading) -> bool:
    return bool(errors_of(reading.events) or errors_of(reading.unnumbered))


async def test_without_any_gateway_a_proxy_says_so_and_with_one_it_goes_on(own: Own) -> None:
    gateway = own.gateway(ADDRESSES[0])
    await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(own.start_proxies)
    gateway.kill()
    statuses = await asyncio.gather(*(_status(proxy) for proxy in own.proxies))
    assert set(statuses) <= {502, 503, 504}, statuses
    await asyncio.to_thread(gateway.start)
    async with asyncio.timeout(20):
        while {*await asyncio.gather(*map(_status, own.proxies))} != {200}:  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.1)


async def _status(proxy: Proxy) -> int:
    async with proxy.client() as http:
        return (await Client(http).post(create(unique("Hello"), "script:text=hi"))).status_code


async def _say_hello(http: httpx.AsyncClient) -> None:
    """Say it again if a gateway heard it and died, as chatkit.js does: up to five times."""
    body = create(unique("Hello"), "script:text=hi")
    for _ in range(5):
        response = await Client(http).post(body)
        if response.status_code == 200:
            assert '"hi"' in response.text
            return
        assert response.status_code == 502, response.text
        await asyncio.sleep(0.5)
    raise AssertionError("refused five times")


async def _read_on(http: httpx.AsyncClient, reading: Reading) -> None:
    """Read an answer to its end; come back when cut off, even if that looks like the end."""
    with suppress(httpx.HTTPError):
        await begin(http, create(unique("A story"), LONG), reading)
    while not (answers_of(reading.events) or _is_told_of_an_error(reading)):
        with suppress(httpx.HTTPError):
            await resume(http, reading)
