"""Gateways that stop, die and come back behind the proxies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, thread_id_of
from tests.cluster import RESUMABLE, Reading, begin, resume
from tests.integration.proxies.conftest import Site
from tests.processes import Service, free_port, running
from tests.proxies import ADDRESSES, NAMES, Names, Proxy, proxy_service
from tests.stack import gateway_service, temporary_data
from tests.turns import create, unique

DRAIN_NOTICE_S = 3
"""As the proxies' files ask for it."""
PAUSE_S = 4
"""How long whoever restarts gateways waits after one is ready: longer than it takes the proxies to see it."""
TALK = "script:deltas=30&delay_ms=40"
ENDLESS = "script:deltas=100000&delay_ms=100"


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
            LEASE_S="1",
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
    users = {
        (proxy.name, proxy.speaks_http2, number): asyncio.create_task(_keep_talking(proxy, number, over.is_set))
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


async def _keep_talking(proxy: Proxy, number: int, is_over: Callable[[], bool]) -> int:
    """Say something, hear the answer, say more: how many turns there were."""
    turns, thread_id = 0, ""
    async with proxy.client() as http:
        chat = Client(http, RESUMABLE if number % 2 else {})
        while not is_over():
            if turns % 3 == 0:
                events = await chat.create(unique("Hello"), model=TALK)
                thread_id = thread_id_of(events)
            else:
                events = await chat.say(thread_id, unique("More"), model=TALK)
            assert errors_of(events) == []
            assert answers_of(events) == [deltas_of(events)]
            assert len(deltas_of(events)) == 120
            turns += 1
    return turns


async def test_who_read_from_a_gateway_that_dies_goes_on_with_another(own: Own) -> None:
    """And of the requests that come at this very moment, none fails: they go where they can."""
    dying, staying = (own.gateway(host) for host in ADDRESSES[:2])
    for gateway in (dying, staying):
        await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(own.start_proxies)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.client()) for proxy in own.proxies]
        readings = {(number, kind): Reading() for number in range(len(clients)) for kind in range(3)}
        tasks = [
            asyncio.create_task(_read_on(clients[number], reading))
            for (number, _), reading in readings.items()
        ]
        await _until(lambda: all(len(reading.events) > 5 for reading in readings.values()))
        dying.kill()
        await asyncio.gather(*(_say_hello(http) for http in clients * 3))
        seen = {key: len(reading.events) for key, reading in readings.items()}
        # who was cut off is told the end of that turn by the other gateway; the others just go on
        await _until(lambda: all(len(one.events) > seen[key] + 5 or errors_of(one.events) for key, one in readings.items()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for reading in readings.values():
        reading.check()
    lost = [key for key, reading in readings.items() if errors_of(reading.events)]
    assert 0 < len(lost) < len(readings)


async def _until(condition: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 (other tasks bring it about)
            await asyncio.sleep(0.02)


async def test_without_any_gateway_a_proxy_says_so_and_with_one_it_goes_on(own: Own) -> None:
    gateway = own.gateway(ADDRESSES[0])
    await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(own.start_proxies)
    gateway.kill()
    statuses = await asyncio.gather(*(_status(proxy) for proxy in own.proxies))
    assert set(statuses) <= {502, 503, 504}, statuses
    await asyncio.to_thread(gateway.start)
    async with asyncio.timeout(10):
        while set(await asyncio.gather(*(_status(proxy) for proxy in own.proxies))) != {200}:
            await asyncio.sleep(0.1)


async def _status(proxy: Proxy) -> int:
    async with proxy.client() as http:
        return (await Client(http).post(create(unique("Hello"), "script:text=hi"))).status_code


async def _say_hello(http: httpx.AsyncClient) -> None:
    events = await Client(http).create(unique("Hello"), model="script:text=hi")
    assert answers_of(events) == ["hi"]


async def _read_on(http: httpx.AsyncClient, reading: Reading) -> None:
    """Read an endless answer; come back when it is cut off, until its end is told."""
    over = False
    try:
        over = await begin(http, create(unique("A story"), ENDLESS), reading)
    except httpx.HTTPError:
        pass
    while not over:
        over = await resume(http, reading)
