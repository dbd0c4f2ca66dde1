"""Stopping and restarting: answers that run go on to their end, and nobody is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import httpx
import pytest

from tests.client import Client, Event, answers_of, deltas_of, errors_of, message, text_of, thread_id_of
from tests.cluster import RESUMABLE, Cluster, Reading, begin, resume
from tests.feeds import Listening, listening
from tests.processes import Service
from tests.stack import gateway_service, store_service, temporary_data
from tests.turns import Answer, add, asking

LONG = "script:deltas=400&delay_ms=20"
ENDLESS = "script:deltas=100000&delay_ms=20"


@asynccontextmanager
async def gateway_of(cluster: Cluster, **settings: str) -> AsyncGenerator[tuple[Service, Client]]:
    """A gateway before the cluster's store that a test may stop."""
    gateway = gateway_service(cluster.store, cluster.model, **settings)
    await asyncio.to_thread(gateway.start)
    try:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            yield gateway, Client(http)
    finally:
        await asyncio.to_thread(gateway.stop)


async def stopping(gateway: Service) -> float:
    """Stop it as an operator would: how long that took, s."""
    began = time.monotonic()
    assert await asyncio.to_thread(gateway.stop) == 0
    return time.monotonic() - began


async def becomes(http: httpx.AsyncClient, status: int) -> None:
    """Wait until the gateway says that it is ready, or not."""
    async with asyncio.timeout(15):
        while (await http.get("/health/ready")).status_code != status:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)


def create(text: str, model: str) -> dict[str, object]:
    return {"type": "threads.create", "params": {"input": message(text, model=model)}}


@pytest.mark.parametrize("signals", ["SIGTERM", "SIGINT", "Ctrl-C"])
async def test_a_gateway_that_stops_finishes_its_answers_and_takes_no_new_ones(
    cluster: Cluster, signals: str
) -> None:
    """Ctrl-C in a terminal is a SIGINT to every process of the group at once."""
    settings = {"SHUTDOWN_GRACE_S": "30"}
    async with gateway_of(cluster, **settings) as (gateway, chat), listening(chat.http) as tab:
        async with chat.stream("threads.create", input=message(f"Go on, {signals}", model=LONG)) as events:
            seen: list[Event] = [await anext(events)]
            if signals == "Ctrl-C":
                os.killpg(gateway.pid, signal.SIGINT)
            else:
                os.kill(gateway.pid, signal.Signals[signals])
            if signals != "Ctrl-C":  # which also closes the door
                await becomes(chat.http, 503)
                assert (await chat.http.get("/health/live")).status_code == 200
                for headers in ({}, RESUMABLE, {"prefer": "handling=strict"}):
                    refused = await chat.post(create("Too late", LONG), **headers)
                    assert refused.status_code == 503
                    assert refused.headers["retry-after"]
                    assert refused.json()["message"]
                assert (await chat.call("threads.list"))["data"]
            seen += [event async for event in events]
            ended = time.monotonic()
        assert await asyncio.to_thread(gateway.wait) == 0
        assert time.monotonic() - ended < 8
        await tab.until(lambda now: now.ended)
    assert errors_of(seen) == []
    assert answers_of(seen) == [deltas_of(seen)]
    assert len(deltas_of(seen)) == 1600


async def test_an_answer_that_outlasts_the_grace_period_ends_with_a_word(cluster: Cluster) -> None:
    elsewhere = cluster.client(0)
    async with gateway_of(cluster, SHUTDOWN_GRACE_S="1") as (gateway, chat), elsewhere.http:
        reading = Reading()
        async with listening(elsewhere.http) as tab:
            reader = asyncio.create_task(begin(chat.http, create("Endless", ENDLESS), reading))
            await tab.until(lambda now: len(deltas_of([one.event for one in now.heard])) > 50)
            assert 0.9 < await stopping(gateway) < 8
            assert await reader
            await tab.until(lambda now: bool(errors_of([one.event for one in now.heard])))
        reading.check()
        assert reading.unnumbered == []
        assert [error["allow_retry"] for error in errors_of(reading.events)] == [True]
        assert tab.of_turn(reading.turn_id) == reading.events
        async with cluster.store_http() as store:
            assert (await store.get(f"/v1/turns/{reading.turn_id}")).json()["state"] == "interrupted"
        items = (await elsewhere.call("items.list", thread_id=tab.heard[0].thread_id, order="asc"))["data"]
        assert text_of(items[1]) == deltas_of(reading.events)
        retried = await elsewhere.say(str(tab.heard[0].thread_id), "Again", model="script:text=here")
        assert answers_of(retried) == ["here"]


async def test_who_reads_a_turn_of_another_gateway_goes_on_elsewhere(cluster: Cluster) -> None:
    """The gateway in between ends their streams without a word, and so it stops at once."""
    here = cluster.client(0)
    reading, resumed = Reading(), Reading()
    async with here.http, gateway_of(cluster) as (gateway, between):
        assert not await begin(here.http, create("Read on", LONG), reading, events=5)
        resumed = Reading(turn_id=reading.turn_id, events=reading.events, numbers=reading.numbers)
        going = asyncio.create_task(resume(between.http, resumed))
        async with listening(between.http) as tab:
            await tab.until(lambda now: len(now.of_turn(reading.turn_id)) > 20)
            assert await stopping(gateway) < 8
            assert await going  # ended, but not by the turn's end
            await tab.until(lambda now: now.ended)
        assert answers_of(resumed.events) == []
        assert resumed.unnumbered == []
        assert await resume(here.http, resumed)
        async with listening(here.http, so_far=tab):
            await tab.until(lambda now: len(now.of_turn(reading.turn_id)) >= len(resumed.events))
    resumed.check()
    assert answers_of(resumed.events) == [deltas_of(resumed.events)]
    assert tab.of_turn(reading.turn_id) == resumed.events


async def test_a_gateway_with_feeds_only_stops_at_once(cluster: Cluster) -> None:
    async with gateway_of(cluster) as (gateway, chat):
        tabs = [Listening() for _ in range(50)]
        open_ = [asyncio.create_task(_listen_until_ended(chat.http, tab)) for tab in tabs]
        for tab in tabs:
            await tab.until(lambda now: bool(now.cursor))
        assert await stopping(gateway) < 8
        await asyncio.gather(*open_)


async def _listen_until_ended(http: httpx.AsyncClient, tab: Listening) -> None:
    async with listening(http, so_far=tab):
        await tab.until(lambda now: now.ended, 20)


@contextmanager
def standing_still(service: Service) -> Generator[None]:
    """Within the block it answers nobody."""
    os.killpg(service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(service.pid, signal.SIGCONT)


@pytest.mark.parametrize("double_texting", ["interrupt", "queue"])
async def test_a_message_that_waits_its_turn_when_the_gateway_is_to_stop_is_still_heard(
    cluster: Cluster, double_texting: str
) -> None:
    settings = {"DOUBLE_TEXTING": double_texting, "KEEPALIVE_S": "0.2", "STORE_TIMEOUT_S": "1"}
    async with gateway_of(cluster, **settings) as (gateway, chat), AsyncExitStack() as stack:

        async def say(text: str, model: str) -> Answer:
            """Say it, until it is known to be heard: the answer begins, or a keep-alive comes."""
            return await stack.enter_async_context(asking(chat.http, add(thread_id, text, model)))

        thread_id = thread_id_of(await chat.create("Hello", model="script:text=hi"))
        answers = [await say("First", "script:deltas=150&delay_ms=20")]
        with standing_still(cluster.store):
            more = [say(f"More {n}", "script:deltas=20&delay_ms=10") for n in range(3)]
            answers += await asyncio.gather(*more)
            stopped = asyncio.create_task(stopping(gateway))
            await becomes(chat.http, 503)
        streams = [answer.events for answer in await asyncio.gather(*(answer.read() for answer in answers))]
        await stopped
        assert [errors_of(events) for events in streams] == [[]] * 4
        async with cluster.client(0).http as http:
            items = (await Client(http).call("items.list", thread_id=thread_id, order="asc"))["data"]
    asked = [text_of(item) for item in items if item["type"] == "user_message"]
    assert sorted(asked) == ["First", "Hello", "More 0", "More 1", "More 2"]
    assert text_of(items[-1]) in [text for events in streams for text in answers_of(events)]


class Balancer:
    """Asks each gateway every now and then whether it is ready, and sends requests to those that are."""

    def __init__(self, urls: list[str]) -> None:
        self._gateways = [httpx.AsyncClient(base_url=url, timeout=30) for url in urls]
        self._ready = [True] * len(urls)
        self._next = 0
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._ready = await asyncio.gather(*(_is_ready(gateway) for gateway in self._gateways))
            await asyncio.sleep(0.1)

    def pick(self) -> httpx.AsyncClient:
        """The next gateway that was ready when last asked."""
        for _ in self._gateways:
            self._next = (self._next + 1) % len(self._gateways)
            if self._ready[self._next]:
                return self._gateways[self._next]
        raise AssertionError("no gateway is ready")

    async def close(self) -> None:
        self._watching.cancel()
        for gateway in self._gateways:
            await gateway.aclose()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/ready", timeout=1)).status_code == 200
    except httpx.TimeoutException:
        return True  # it is there, on a machine that is busy with other things
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(120)
async def test_a_rolling_restart_refuses_no_request_and_cuts_no_answer(cluster: Cluster) -> None:
    settings = {"DRAIN_NOTICE_S": "3"}
    gateways = [gateway_service(cluster.store, cluster.model, **settings) for _ in range(2)]
    for gateway in gateways:
        await asyncio.to_thread(gateway.start)
    balancer = Balancer([gateway.url for gateway in gateways])
    done = asyncio.Event()
    try:
        users = [asyncio.create_task(_keep_talking(balancer, number, done.is_set)) for number in range(8)]
        await asyncio.sleep(1)
        for gateway in gateways * 2:
            await stopping(gateway)
            await asyncio.to_thread(gateway.start)
            await asyncio.sleep(1)
        done.set()
        turns = sum(await asyncio.gather(*users))
    finally:
        await balancer.close()
        for gateway in gateways:
            await asyncio.to_thread(gateway.stop)
    print(f"{turns} turns during 4 restarts, all answered in full")  # noqa: T201 (the count)
    assert turns > 40


async def _keep_talking(balancer: Balancer, number: int, is_done: Callable[[], bool]) -> int:
    """Say something, hear the answer, say more; half of the users can come back, the others cannot."""
    turns, thread_id = 0, ""
    while not is_done():
        text, model = f"User {number} says {turns}", "script:deltas=30&delay_ms=20"
        chat = Client(balancer.pick(), RESUMABLE if number % 2 else {})
        if turns % 3 == 0:
            events = await chat.create(text, model=model)
            thread_id = thread_id_of(events)
        else:
            events = await chat.say(thread_id, text, model=model)
        assert errors_of(events) == []
        assert answers_of(events) == [deltas_of(events)]
        assert len(deltas_of(events)) == 120
        turns += 1
    return turns


async def test_a_store_that_stops_finishes_what_it_was_asked() -> None:
    """Each request is answered in full, or its connection was closed before it was heard."""
    with temporary_data() as data:
        store = store_service(data)
        await asyncio.to_thread(store.start)
        headers = {"authorization": "Bearer a-service-token-for-tests", "bobbin-owner": "ann"}
        async with httpx.AsyncClient(base_url=store.url, headers=headers, timeout=30) as http:
            for n in range(20):
                await http.post("/v1/threads", json={"id": f"thr_{n}", "metadata": {"text": "x" * 20_000}})
            answers: list[int] = []
            calling = [asyncio.create_task(_ask_until_closed(http, answers)) for _ in range(16)]
            async with asyncio.timeout(20):
                while len(answers) <= 16:  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.01)
            began = time.monotonic()
            assert await asyncio.to_thread(store.stop) == 0
            took = time.monotonic() - began
            await asyncio.gather(*calling)
    assert set(answers) == {200}
    assert took < 8


async def _ask_until_closed(http: httpx.AsyncClient, answers: list[int]) -> None:
    while True:
        try:
            response = await http.get("/v1/threads", params={"limit": 100})
        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            answers += [0] if "incomplete" in str(error) else []
            return
        answers.append(response.status_code)
        assert response.json()["data"]
