"""Live feeds: a second tab, on any gateway, sees what happens in the threads, once and in order."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import quantiles

import aiohttp
import httpx
import pytest
from aiohttp import web

from tests.client import (
    Client,
    Event,
    answers_of,
    deltas_of,
    message,
    text_of,
    thread_id_of,
)
from tests.cluster import Cluster, running_cluster
from tests.feeds import Heard, Listening, hear, listening
from tests.integration.gateway.test_owners import token
from tests.processes import Service, free_port, running
from tests.stack import JWT_SECRET, gateway_service

SLOW = "script:deltas=200&delay_ms=20"
BRISK = "script:deltas=8&delay_ms=175"
"""More than a second, which is long enough to be in the journal, also on a busy machine; but few events."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two gateways whose turns last long enough to be in the journal, and that hardly keep silent."""
    with running_cluster(MODEL=BRISK, KEEPALIVE_S="0.5") as one:
        yield one


WHERE = pytest.mark.parametrize("elsewhere", [0, 1], ids=["same gateway", "another gateway"])


async def turn_begun(reading: Listening, thread_id: str | None = None) -> str:
    """The id of the first turn that was heard of (in the thread)."""

    def turns(now: Listening) -> list[str]:
        return [one.turn_id for one in now.heard if one.turn_id and thread_id in {None, one.thread_id}]

    await reading.until(lambda now: bool(turns(now)))
    return turns(reading)[0]


async def journal_of(http: httpx.AsyncClient, turn_id: str) -> list[Event]:
    """The events of a turn as one sees them who resumes it."""
    response = await http.get(f"/chatkit/turns/{turn_id}/events")
    assert response.status_code == 200, response.text
    return [json.loads(line[6:]) for line in response.content.split(b"\n") if line.startswith(b"data: ")]


@WHERE
async def test_a_second_tab_sees_a_new_thread_and_its_answer_as_it_streams(
    cluster: Cluster, elsewhere: int
) -> None:
    here, there = cluster.client(0), cluster.client(elsewhere)
    async with here.http, there.http, listening(there.http) as tab:
        seen: list[Event] = []
        model = "script:deltas=300&delay_ms=20"
        async with here.stream("threads.create", input=message("A story", model=model)) as events:
            async for event in events:
                seen.append(event)
                if len(deltas_of(seen)) > 100:
                    break
            turn_id = await turn_begun(tab, thread_id_of(seen))
            await tab.until(lambda now: len(deltas_of(now.of_turn(turn_id))) > 100)
            assert answers_of(tab.of_turn(turn_id)) == []  # the answer is still on its way
            seen += [event async for event in events]
        await tab.until(lambda now: len(now.of_turn(turn_id)) >= len(seen))
        await asyncio.sleep(0.3)  # for what should not come
    assert tab.of_turn(turn_id) == seen
    assert tab.of_thread(thread_id_of(seen)) == seen
    assert seen[0]["type"] == "thread.created"
    assert seen[1]["item"]["type"] == "user_message"


@WHERE
@pytest.mark.parametrize("whole", [True, False], ids=["all threads", "one thread"])
async def test_a_second_tab_sees_names_retries_and_the_end_of_a_thread(
    cluster: Cluster,
    elsewhere: int,
    whole: bool,
) -> None:
    here, there = cluster.client(0), cluster.client(elsewhere)
    async with here.http, there.http:
        first = await here.create("Hello", model=BRISK)
        thread_id = thread_id_of(first)
        path = "/chatkit/events" if whole else f"/chatkit/threads/{thread_id}/events"
        async with listening(there.http, path) as tab:
            await here.call("threads.update", thread_id=thread_id, title="A better name")
            again = await here.events(
                "threads.retry_after_item",
                thread_id=thread_id,
                item_id=next(e["item"]["id"] for e in first if e["type"] == "thread.item.done"),
            )
            said = await here.say(thread_id, "And more", model=BRISK)
            await tab.until(lambda now: len(now.of_thread(thread_id)) >= len(again) + len(said) + 2)
            await here.call("threads.delete", thread_id=thread_id)
            await tab.until(lambda now: "thread.deleted" in now.kinds(thread_id))
    own = [one.event for one in tab.heard if one.turn_id is None and one.thread_id == thread_id]
    assert [event["type"] for event in own] == ["thread.updated", "thread.item.removed", "thread.deleted"]
    assert own[0]["thread"]["title"] == "A better name"
    answer = next(e["item"] for e in first if e.get("item", {}).get("type") == "assistant_message")
    assert own[1]["item_id"] == answer["id"]
    assert [e for one in tab.heard if one.turn_id and (e := one.event)] == again + said


@WHERE
async def test_who_opens_a_feed_in_mid_answer_gets_it_from_its_first_event(
    cluster: Cluster, elsewhere: int
) -> None:
    here, there = cluster.client(0), cluster.client(elsewhere)
    async with here.http, there.http:
        seen: list[Event] = []
        async with here.stream("threads.create", input=message("A story", model=SLOW)) as events:
            async for event in events:
                seen.append(event)
                if len(deltas_of(seen)) > 100:
                    break
            async with listening(there.http) as all_of_it:
                path = f"/chatkit/threads/{thread_id_of(seen)}/events"
                async with listening(there.http, path) as one_thread:
                    seen += [event async for event in events]
                    for tab in (all_of_it, one_thread):
                        await tab.until(lambda now: len(now.of_thread(thread_id_of(seen))) >= len(seen))
    assert all_of_it.of_thread(thread_id_of(seen)) == seen
    assert [one.event for one in one_thread.heard] == seen


GARBAGE = ["x", "1", "1.2.3~", "~x", "~trn_1:", "~trn_1:-5", "~trn_1:+5", "~trn_1:1_0", "~trn_1: 5", "~"]
GARBAGE += ["99999999999.1_1", "\u00b2", "9" * 4000, "~trn_1:" + "9" * 40, "~%00:1", "'; --"]


@pytest.mark.parametrize("cursor", GARBAGE)
async def test_what_is_no_position_is_refused(cluster: Cluster, cursor: str) -> None:
    async with (
        cluster.client(0).http as http,
        http.stream("GET", "/chatkit/events", params={"after": cursor}) as response,
    ):
        assert response.status_code == 400
        assert json.loads(await response.aread())["field"] == "Last-Event-ID"


@WHERE
async def test_who_was_away_for_too_long_is_told_to_load_again_and_hears_on(
    cluster: Cluster, elsewhere: int
) -> None:
    here, there = cluster.client(0), cluster.client(elsewhere)
    async with here.http, there.http:
        async with listening(there.http) as tab:
            await tab.until(lambda now: bool(now.cursor))
        at, rest = tab.cursor.split(".", 1)
        expired = Listening(cursor=f"{int(at) - 3600}.{rest}")
        async with here.stream("threads.create", input=message("A story", model=SLOW)) as events:
            seen = [await anext(events)]
            async with listening(there.http, so_far=expired):
                seen += [event async for event in events]
                await expired.until(lambda now: len(now.of_thread(thread_id_of(seen))) >= len(seen))
    assert [one.event["type"] for one in expired.heard].count("feed.reset") == 1
    assert expired.heard[0].event == {"type": "feed.reset"}
    assert expired.of_thread(thread_id_of(seen)) == seen


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[Service]:
    """A gateway before the same store that knows its users apart."""
    gateway = gateway_service(cluster.store, cluster.model, AUTH="jwt", JWT_SECRET=JWT_SECRET, MODEL=BRISK)
    with running(gateway):
        yield gateway


async def test_a_feed_tells_nothing_of_other_owners(guarded: Service) -> None:
    async with httpx.AsyncClient(base_url=guarded.url, timeout=30) as http:
        ada, eve = ({"authorization": f"Bearer {token(name)}"} for name in ("ada", "eve"))
        async with listening(http, **eve) as heard_by_eve, listening(http, **ada) as heard_by_ada:
            first = await Client(http, ada).create("Ada's secret")
            thread_id = thread_id_of(first)
            await Client(http, ada).call("threads.update", thread_id=thread_id, title="Ada's")
            await heard_by_ada.until(lambda now: "thread.updated" in now.kinds(thread_id))
            turn_id = await turn_begun(heard_by_ada)
            own = await Client(http, eve).create("Eve's own")
            await heard_by_eve.until(lambda now: len(now.heard) >= len(own))
        assert {one.thread_id for one in heard_by_eve.heard} == {thread_id_of(own)}
        assert {one.thread_id for one in heard_by_ada.heard} == {thread_id}

        foreign = await http.get(f"/chatkit/threads/{thread_id}/events", headers=eve)
        absent = await http.get("/chatkit/threads/thr_never/events", headers=eve)
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["message"] == absent.json()["message"]
        assert (await http.get("/chatkit/events")).status_code == 401

        # Ada's position, and a turn of hers, in Eve's hands
        stolen = Listening(cursor=f"{heard_by_ada.heard[0].id.partition('~')[0]}~{turn_id}:0")
        async with listening(http, so_far=stolen, **eve):
            more = await Client(http, eve).create("Eve's second")
            await stolen.until(lambda now: len(now.of_thread(thread_id_of(more))) >= len(more))
        assert thread_id not in {one.thread_id for one in stolen.heard}


async def test_silence_is_broken_by_keep_alives(cluster: Cluster) -> None:
    """They carry the position, so that it does not expire on who hears nothing for long."""
    async with cluster.client(0).http as http, listening(http) as tab:
        await tab.until(lambda now: bool(now.cursor))
        first = int(tab.cursor.split(".")[0])
        await tab.until(lambda now: now.silent >= 3 and int(now.cursor.split(".")[0]) > first)
    assert tab.heard == []


@WHERE
async def test_a_feed_does_not_keep_an_answer_alive_that_nobody_asked_for_any_more(
    cluster: Cluster, elsewhere: int
) -> None:
    """Unmodified chatkit.js presses Stop: a second tab that only watches is no reason to go on."""
    here, there = cluster.client(0), cluster.client(elsewhere)
    async with here.http, there.http, listening(there.http) as tab:
        body = message(f"A story nobody waits for, {elsewhere}", model="script:deltas=2000&delay_ms=20")
        async with here.stream("threads.create", input=body) as events:
            seen: list[Event] = [await anext(events)]
            turn_id = await turn_begun(tab, thread_id_of(seen))
            await tab.until(lambda now: len(deltas_of(now.of_turn(turn_id))) > 20)
        await tab.until(lambda now: now.of_turn(turn_id)[-1]["type"] == "thread.updated", 20)
        items = (await here.call("items.list", thread_id=thread_id_of(seen), order="asc"))["data"]
    assert answers_of(tab.of_turn(turn_id)) == [deltas_of(tab.of_turn(turn_id))]
    assert text_of(items[1]) == deltas_of(tab.of_turn(turn_id))
    assert len(text_of(items[1])) < 4000


async def test_a_reader_that_never_reads_is_let_go_and_holds_up_nobody(cluster: Cluster) -> None:
    settings = {"SEND_TIMEOUT_S": "5", "MAX_OUTPUT_BYTES": "40000000"}
    with running(gateway_service(cluster.store, cluster.model, **settings)) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http, listening(http) as tab:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", gateway.port))
                deaf.sendall(b"GET /chatkit/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
                await asyncio.sleep(0.2)
                seen = await Client(http).create("All of it", model="script:deltas=400&size=10000")
                await tab.until(lambda now: len(now.of_thread(thread_id_of(seen))) >= len(seen))
                await asyncio.sleep(7)
                late = await asyncio.to_thread(_read_to_end, deaf)
    assert tab.of_thread(thread_id_of(seen)) == seen
    assert len(deltas_of(seen)) == 4_000_000
    assert len(late) < 4_000_000


def _read_to_end(connection: socket.socket) -> bytes:
    """What still comes before the server's end of the connection."""
    connection.settimeout(5)
    data = b""
    try:
        while received := connection.recv(1 << 20):
            data += received
    except ConnectionResetError:
        pass
    return data


async def test_an_answer_too_quick_for_the_journal_is_told_in_its_final_form(
    cluster: Cluster,
) -> None:
    here, there = cluster.client(0), cluster.client(1)
    async with here.http, there.http, listening(there.http) as tab:
        seen = await here.create("Quick", model="script:text=quick")
        thread_id = thread_id_of(seen)
        await tab.until(lambda now: bool(answers_of(now.of_thread(thread_id))))
        await tab.until(lambda now: now.of_thread(thread_id)[-1]["type"] == "thread.updated")
    told = tab.of_thread(thread_id)
    assert told[0]["type"] == "thread.created"
    assert answers_of(told) == ["quick"]
    done = [event["item"] for event in seen if event["type"] == "thread.item.done"]
    assert [event["item"] for event in told if event["type"] == "thread.item.done"] == done


async def _talk(chats: list[Client], seed: int) -> tuple[str, list[list[Event]]]:
    """Do what people do in a thread, now here and now there. Its id, and the events of each turn."""
    rng = random.Random(seed)
    turns = [await rng.choice(chats).create(f"Hello {seed}", model=BRISK)]
    thread_id = thread_id_of(turns[0])
    for number in range(3):
        await rng.choice(chats).call("threads.update", thread_id=thread_id, title=f"Name {number}")
        turns.append(await rng.choice(chats).say(thread_id, f"And {number}?", model=BRISK))
        question = next(event["item"]["id"] for event in turns[-1] if event["type"] == "thread.item.done")
        retry = {"thread_id": thread_id, "item_id": question}
        turns.append(await rng.choice(chats).events("threads.retry_after_item", **retry))
    return thread_id, turns


async def _hear_in_pieces(chats: list[Client], path: str, reading: Listening, rng: random.Random) -> None:
    """Lose the connection again and again, and come back to any gateway."""
    while True:
        await hear(rng.choice(chats).http, path, reading, rng.choice([1, 1, 2, 3, 8, 20]))
        await asyncio.sleep(rng.choice([0, 0, 0.05, 0.2]))


@pytest.mark.timeout(120)
async def test_feeds_cut_at_random_miss_nothing_and_hear_nothing_twice(cluster: Cluster) -> None:
    """A reader comes back with the last id it saw, to any gateway, and hears what the uncut hear."""
    rng = random.Random(11)
    chats = [cluster.client(index) for index in (0, 1)]
    path = "/chatkit/events"
    async with chats[0].http, chats[1].http, listening(chats[0].http, path) as uncut:
        await uncut.until(lambda now: bool(now.cursor))
        readers = [Listening(cursor=uncut.cursor) for _ in range(6)]
        reading = [asyncio.create_task(_hear_in_pieces(chats, path, one, rng)) for one in readers]
        threads = dict(await asyncio.gather(*(_talk(chats, seed) for seed in range(4))))
        said = sum(len(events) for turns in threads.values() for events in turns)
        for reader in [uncut, *readers]:
            await reader.until(lambda now: sum(one.turn_id is not None for one in now.heard) >= said, 60)
        for thread_id in threads:
            await chats[0].call("threads.delete", thread_id=thread_id)
        for reader in [uncut, *readers]:
            await reader.until(lambda now: all("thread.deleted" in now.kinds(thread) for thread in threads))
        await asyncio.sleep(1)  # for what should not come
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
    cuts = sum(reader.connections for reader in readers)
    print(f"{cuts} connections of {len(readers)} readers, {len(uncut.heard)} messages each")  # noqa: T201 (the count)
    assert cuts > 100
    for reader in [uncut, *readers]:
        assert len(reader.heard) == len(uncut.heard)
        for thread_id, turns in threads.items():
            assert reader.turns_in(thread_id) == turns
            own = ["thread.updated", "thread.item.removed"] * 3 + ["thread.deleted"]
            assert reader.kinds(thread_id) == own


async def _counting(request: web.Request) -> web.Response:
    """Pass a call on to the store, and count it."""
    request.app[_CALLS].append(f"{request.method} {request.path}")
    async with request.app[_SESSION].request(
        request.method, request.raw_path, data=await request.read(), headers=request.headers
    ) as answer:
        return web.Response(
            body=await answer.read(), status=answer.status, headers={"content-type": answer.content_type}
        )


_CALLS = web.AppKey("calls", list[str])
_SESSION = web.AppKey("session", aiohttp.ClientSession)


@asynccontextmanager
async def counting_store(store: Service) -> AsyncGenerator[tuple[str, list[str]]]:
    """Another way to the store, and the calls that went over it."""
    app = web.Application(client_max_size=1 << 30)
    app[_CALLS] = []
    app.router.add_route("*", "/{path:.*}", _counting)
    async with aiohttp.ClientSession(store.url) as session:
        app[_SESSION] = session
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}", app[_CALLS]
        finally:
            await runner.cleanup()


async def test_two_hundred_feeds_cost_one_call_to_the_store_per_look(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        url, calls = await stack.enter_async_context(counting_store(cluster.store))
        gateway = gateway_service(cluster.store, cluster.model, STORE_URL=url, WATCH_INTERVAL_S="0.2")
        await asyncio.to_thread(gateway.start)
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        limits = httpx.Limits(max_connections=None)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, limits=limits))
        other = cluster.client(0)
        await stack.enter_async_context(other.http)
        tabs = [await stack.enter_async_context(listening(http)) for _ in range(200)]
        calls.clear()
        began = time.monotonic()
        await asyncio.sleep(2)
        idle, idle_s = calls.count("POST /v1/watch"), time.monotonic() - began
        began, before = time.monotonic(), len(calls)
        seen = await other.create("To all", model="script:deltas=30&delay_ms=100")
        for tab in tabs:
            await tab.until(lambda now: len(now.of_thread(thread_id_of(seen))) >= len(seen), 30)
        looks = (time.monotonic() - began) / 0.2
        told = calls[before:]
    assert all(tab.of_thread(thread_id_of(seen)) == seen for tab in tabs)
    assert 1 <= idle <= idle_s / 0.2 + 2
    assert told.count("POST /v1/watch") <= looks + 5
    assert len([call for call in told if "/gateways/" not in call]) <= looks + 5


async def test_the_delay_of_a_feed(cluster: Cluster) -> None:
    """From the event in the stream of who asked to the same event in a feed; bounds for a busy machine."""
    here, there = cluster.client(0), cluster.client(1)
    delays: dict[str, list[float]] = {"same gateway": [], "another gateway": []}
    async with here.http, there.http, listening(here.http) as near, listening(there.http) as far:
        for number in range(4):
            at: list[float] = []
            seen: list[Event] = []
            body = message(f"A story, {number}", model="script:deltas=40&delay_ms=47")
            async with here.stream("threads.create", input=body) as events:
                async for event in events:
                    at.append(time.monotonic())
                    seen.append(event)
            for tab, name in ((near, "same gateway"), (far, "another gateway")):
                heard = await _heard(tab, thread_id_of(seen), len(seen))
                assert [one.event for one in heard] == seen
                delays[name] += [one.at - then for one, then in zip(heard, at, strict=True)]
    for name, seconds in delays.items():
        median, p95 = quantiles(seconds, n=20)[9], quantiles(seconds, n=20)[18]
        print(f"{name}: {len(seconds)} events, median {median * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms")  # noqa: T201 (the figures)
        assert median < 1


async def _heard(tab: Listening, thread_id: str, count: int) -> list[Heard]:
    await tab.until(lambda now: len(now.of_thread(thread_id)) >= count)
    return [one for one in tab.heard if one.thread_id == thread_id]
