"""A gateway that dies, or is only slow, loses its turns to another one; what was said is kept, once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bobbin_protocol.ids import new_id
from tests.client import Event, answers_of, deltas_of, errors_of, kinds_of, message, text_of, thread_id_of
from tests.cluster import Cluster, Reading, begin, resume, running_cluster
from tests.model import ModelServer
from tests.processes import Service
from tests.stack import gateway_service

LEASE_S = 3.0
PATIENCE_S = LEASE_S + 25
"""Within which a turn of a dead gateway has ended, on a machine that is busy with other things."""

pytestmark = pytest.mark.timeout(120)

JSON = {"content-type": "application/json"}
SLOW = "script:deltas=200&delay_ms=50"


def create(model: str = SLOW, text: str = "Tell me a story") -> dict[str, Any]:
    return {"type": "threads.create", "params": {"input": message(text, model=model)}}


def say(thread_id: str, text: str, model: str = "script:text=here") -> dict[str, Any]:
    params = {"thread_id": thread_id, "input": message(text, model=model)}
    return {"type": "threads.add_user_message", "params": params}


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two gateways that are killed and started again."""
    with running_cluster(LEASE_S=str(LEASE_S)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def background_pair() -> Iterator[Cluster]:
    """The same, with answers that go on at the provider."""
    with running_cluster(LEASE_S=str(LEASE_S), BACKGROUND="1") as cluster:
        yield cluster


@contextmanager
def killed(gateway: Service) -> Iterator[None]:
    """Dead within the block, and started again."""
    gateway.kill()
    try:
        yield
    finally:
        gateway.start()


async def read_until_cut(
    http: httpx.AsyncClient, body: dict[str, Any], reading: Reading, **headers: str
) -> None:
    """Read a turn for as long as its gateway lives."""
    try:
        await begin(http, body, reading, **headers)
    except httpx.TransportError:
        return
    pytest.fail("the stream came to an orderly end")


async def read_to_end(http: httpx.AsyncClient, reading: Reading) -> None:
    """Come back until there is nothing more to read."""
    async with asyncio.timeout(20 + PATIENCE_S):
        while not await at_end(http, reading):
            await resume(http, reading)


async def at_end(http: httpx.AsyncClient, reading: Reading) -> bool:
    headers = {"last-event-id": reading.last_id} if reading.last_id else {}
    async with http.stream("GET", f"/chatkit/turns/{reading.turn_id}/events", headers=headers) as response:
        return response.status_code == 204


async def reached(reading: Reading, events: int) -> None:
    """Wait until so many events have come."""
    async with asyncio.timeout(PATIENCE_S):
        while len(reading.events) < events:  # noqa: ASYNC110 (a reader that knows nothing of us adds to it)
            await asyncio.sleep(0.01)


async def turn_of(cluster: Cluster, turn_id: str) -> dict[str, Any]:
    async with cluster.store_http() as store:
        return (await store.get(f"/v1/turns/{turn_id}")).raise_for_status().json()


async def ended(cluster: Cluster, turn_id: str) -> dict[str, Any]:
    """The turn's record, once it has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while (turn := await turn_of(cluster, turn_id))["state"] == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return turn


async def items_of(cluster: Cluster, thread_id: str) -> list[dict[str, Any]]:
    async with cluster.store_http() as store:
        response = await store.get(f"/v1/threads/{thread_id}/items", params={"order": "asc"})
    return response.raise_for_status().json()["data"]


def is_interruption(event: Event) -> bool:
    return event["type"] == "error" and event["allow_retry"]


async def test_another_gateway_ends_the_turns_of_a_dead_one(pair: Cluster) -> None:
    """What was said is kept, everyone who reads is told, and the thread can be used again."""
    here, there = Reading(), Reading()
    body, key = create(), {"Idempotency-Key": uuid4().hex}
    async with pair.client(0).http as first, pair.client(1).http as second:
        reading = asyncio.create_task(read_until_cut(first, body, here, **key))
        await reached(here, 10)
        there.turn_id = here.turn_id
        following = asyncio.create_task(resume(second, there))
        listening = asyncio.create_task(join(second, body, **key))
        await reached(there, 10)
        with killed(pair.gateways[0]):
            killed_at = time.monotonic()
            await reading
            async with asyncio.timeout(PATIENCE_S):
                assert await following
            took = time.monotonic() - killed_at
            plain = await listening
            await read_to_end(second, here)

            turn = await turn_of(pair, here.turn_id)
            thread_id = thread_id_of(here.events)
            items = await items_of(pair, thread_id)
            async with pair.client(1).http as http:
                again = Reading()
                await begin(http, say(thread_id, "And then?"), again)

    assert took < PATIENCE_S
    here.check()
    assert (here.events, here.numbers) == (there.events, there.numbers)
    assert is_interruption(here.events[-1])
    assert len(errors_of(here.events)) == 1
    assert is_interruption(plain[-1])
    assert (turn["state"], turn["event_count"]) == ("interrupted", len(here.events))
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]
    assert text_of(items[1]) == deltas_of(here.events)
    assert answers_of(again.events) == ["here"]


async def join(http: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> list[Event]:
    """All events, as a client gets them that knows nothing of their numbers."""
    response = await http.post("/chatkit", content=json.dumps(body), headers={**JSON, **headers})
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


async def test_a_turn_whose_readers_are_gone_is_kept_as_far_as_it_got(pair: Cluster) -> None:
    reading = Reading()
    async with pair.client(0).http as here, pair.client(1).http as there:
        await begin(here, create(), reading, events=12)
        with killed(pair.gateways[0]):
            assert (await ended(pair, reading.turn_id))["state"] == "interrupted"
            await read_to_end(there, reading)
        items = await items_of(pair, thread_id_of(reading.events))
    reading.check()
    assert is_interruption(reading.events[-1])
    assert text_of(items[1]) == deltas_of(reading.events)


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_gateway_may_die_at_once(pair: Cluster, resumable: bool) -> None:
    """The message is stored once, whether anything was journalled or not; it can be answered again."""
    body, key = create("script:first_ms=20000"), uuid4().hex
    headers = {"Idempotency-Key": key} | ({"ChatKit-Resumable": "1"} if resumable else {})
    async with pair.client(0).http as here, pair.client(1).http as there:
        content = json.dumps(body)
        async with here.stream("POST", "/chatkit", content=content, headers={**JSON, **headers}) as response:
            turn_id = response.headers["chatkit-turn-id"]
            pair.gateways[0].kill()
        try:
            turn = await ended(pair, turn_id)
            events = await join(there, body, **{"Idempotency-Key": key})
            thread_id = thread_id_of(events)
            items = await items_of(pair, thread_id)
            retried = Reading()
            retry = {"thread_id": thread_id, "item_id": items[0]["id"]}
            await begin(there, {"type": "threads.retry_after_item", "params": retry}, retried, events=1)
            await there.post(f"/chatkit/turns/{retried.turn_id}/cancel")
        finally:
            pair.gateways[0].start()
    assert turn["state"] == "interrupted"
    assert is_interruption(events[-1])
    assert [item["type"] for item in items] == ["user_message"]


async def orphan(cluster: Cluster) -> str:
    """A turn whose gateway died between the store's answer and the first event."""
    thread_id = new_id("thread")
    said = {
        "type": "user_message",
        "id": new_id("message"),
        "thread_id": thread_id,
        "created_at": "2026-11-30T12:00:00Z",
        "content": [{"type": "input_text", "text": "Hello"}],
        "attachments": [],
        "inference_options": {},
    }
    opening = {
        "turn_id": new_id("turn"),
        "thread_id": thread_id,
        "input": {"type": "create_thread", "message": said},
        "gateway_id": new_id("gateway"),
    }
    async with cluster.store_http() as store:
        return (await store.post("/v1/turns", json=opening)).raise_for_status().json()["turn_id"]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_a_turn_without_journal_is_told_from_its_beginning(pair: Cluster, gateway: int) -> None:
    """Its client does not even know the thread yet."""
    reading = Reading(turn_id=await orphan(pair))
    async with pair.client(gateway).http as http:
        await read_to_end(http, reading)
    reading.check()
    assert kinds_of(reading.events)[:2] == ["thread.created", "thread.item.done user_message"]
    assert is_interruption(reading.events[-1])
    assert (await turn_of(pair, reading.turn_id))["event_count"] == len(reading.events)


class LossyProxy:
    """Passes calls on to a store, and loses the answers to some."""

    def __init__(self, store: Service, loses: bytes, times: int) -> None:
        self._store = store
        self._loses = loses
        self.times = times

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve within the block; gives the address."""
        async with await asyncio.start_server(self._pass_on, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_store, to_store = await asyncio.open_connection("127.0.0.1", self._store.port)
        async with _closing(writer), _closing(to_store):
            await self._between(reader, to_store, from_store, writer)

    async def _between(
        self,
        reader: asyncio.StreamReader,
        to_store: asyncio.StreamWriter,
        from_store: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        lost = False

        async def answers() -> None:
            while (data := await from_store.read(65536)) and not lost:
                writer.write(data)
            writer.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answers())
            while data := await reader.read(65536):
                if self.times and self._loses in data:
                    self.times -= 1
                    lost = True
                to_store.write(data)
            to_store.close()


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("times", [1, 4])
async def test_a_claim_whose_answer_is_lost_loses_no_turn(times: int) -> None:
    with running_cluster(0) as cluster:
        proxy = LossyProxy(cluster.store, b"/claims HTTP/1.1", times)
        async with proxy.serving() as store_url:
            gateway = gateway_service(cluster.store, cluster.model, LEASE_S="1", STORE_URL=store_url)
            turn_id = await orphan(cluster)
            try:
                await asyncio.to_thread(gateway.start)
                assert (await ended(cluster, turn_id))["state"] == "interrupted"
            finally:
                await asyncio.to_thread(gateway.stop)
    assert proxy.times == 0


async def test_a_thread_whose_gateway_died_takes_the_next_message_at_once(pair: Cluster) -> None:
    before, after = Reading(), Reading()
    async with pair.client(0).http as here, pair.client(1).http as there:
        await begin(here, create(), before, events=10)
        thread_id = thread_id_of(before.events)
        with killed(pair.gateways[0]):
            async with asyncio.timeout(PATIENCE_S):
                await begin(there, say(thread_id, "Hello?"), after)
            first = await ended(pair, before.turn_id)
            await read_to_end(there, before)
        texts = [text_of(item) for item in await items_of(pair, thread_id)]
    before.check()
    assert answers_of(after.events) == ["here"]
    assert first["state"] in {"interrupted", "cancelled"}
    assert sorted(texts) == sorted(["Tell me a story", deltas_of(before.events), "Hello?", "here"])


async def test_a_turn_of_a_dead_gateway_can_be_cancelled(pair: Cluster) -> None:
    reading = Reading()
    async with pair.client(0).http as here, pair.client(1).http as there:
        await begin(here, create(), reading, events=10)
        with killed(pair.gateways[0]):
            response = await there.post(f"/chatkit/turns/{reading.turn_id}/cancel")
            assert response.status_code in {200, 202}
            assert (await ended(pair, reading.turn_id))["state"] == "cancelled"
            await read_to_end(there, reading)
    reading.check()
    assert errors_of(reading.events) == []


@pytest.mark.parametrize(
    "model",
    [SLOW, "script:deltas=60&delay_ms=50", "script:deltas=30&delay_ms=50&stall_after=28"],
    ids=["still talking", "finished meanwhile", "silent"],
)
async def test_a_gateway_that_was_only_slow_lets_go(pair: Cluster, model: str) -> None:
    """It was taken for dead: what it still has to say is neither stored nor shown, and it goes on as new."""
    reading = Reading()
    slow = pair.gateways[0]
    losses = slow.log().count("lease lost")
    async with pair.client(0).http as here, pair.client(1).http as there:
        attached = asyncio.create_task(begin(here, create(model), reading))
        await reached(reading, 10)
        os.kill(-slow.pid, signal.SIGSTOP)
        try:
            turn = await ended(pair, reading.turn_id)
            thread_id = thread_id_of(reading.events)
            items = await items_of(pair, thread_id)
        finally:
            os.kill(-slow.pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):
            assert await attached, "the reader is served to the end by the gateway that it has"
        told = Reading(turn_id=reading.turn_id)
        await read_to_end(there, told)

        again = Reading()
        async with asyncio.timeout(PATIENCE_S):
            await begin(here, say(thread_id, "Are you back?"), again)
        afterwards = await items_of(pair, thread_id)
        finished = await turn_of(pair, reading.turn_id)
    reading.check()
    assert (reading.events, reading.numbers) == (told.events, told.numbers)
    assert is_interruption(reading.events[-1])
    assert (finished, afterwards[: len(items)]) == (turn, items)
    assert text_of(items[1]) == deltas_of(reading.events)
    assert turn["event_count"] == len(reading.events)
    assert answers_of(again.events) == ["here"]
    assert slow.log().count("lease lost") > losses


async def test_nobody_is_dead_when_all_stood_still(pair: Cluster) -> None:
    """A machine that was suspended: the first to wake does not take the others for dead."""
    readings = [Reading(), Reading()]
    async with pair.client(0).http as first, pair.client(1).http as second:
        attached = [
            asyncio.create_task(begin(http, create("script:deltas=100&delay_ms=50"), reading))
            for http, reading in zip([first, second], readings, strict=True)
        ]
        for reading in readings:
            await reached(reading, 10)
        for sign, pause_s in [(signal.SIGSTOP, LEASE_S + 2), (signal.SIGCONT, 0)]:
            for gateway in pair.gateways:
                os.kill(-gateway.pid, sign)
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(30):
            assert all(await asyncio.gather(*attached))
    for reading in readings:
        reading.check()
        assert errors_of(reading.events) == []
        assert delta_count(reading) == 100


async def test_a_lone_gateway_takes_up_its_own_turns_when_it_is_started_again() -> None:
    reading = Reading()
    with running_cluster(1, LEASE_S=str(LEASE_S)) as cluster:
        async with cluster.client().http as http:
            await begin(http, create(), reading, events=10)
            cluster.gateways[0].kill()
            cluster.gateways[0].start()
            await read_to_end(http, reading)
            assert (await turn_of(cluster, reading.turn_id))["state"] == "interrupted"
            items = await items_of(cluster, thread_id_of(reading.events))
    reading.check()
    assert is_interruption(reading.events[-1])
    assert text_of(items[1]) == deltas_of(reading.events)


async def test_an_answer_made_in_the_background_is_completed_by_others(background_pair: Cluster) -> None:
    """Two gateways die one after the other; the answer is whole, and every delta comes once."""
    reading = Reading()
    pair = background_pair
    async with pair.client(0).http as first, pair.client(1).http as second:
        reader = asyncio.create_task(read_until_cut(first, create("script:deltas=600&delay_ms=50"), reading))
        await reached(reading, 10)
        with killed(pair.gateways[0]):
            await reader
            reader = asyncio.create_task(resume(second, reading))
            await reached(reading, 60)
        pair.gateways[1].kill()
        try:
            with pytest.raises(httpx.TransportError):
                await reader
            await read_to_end(first, reading)
        finally:
            pair.gateways[1].start()
        items = await items_of(pair, thread_id_of(reading.events))
    reading.check()
    assert errors_of(reading.events) == []
    assert answers_of(reading.events) == [deltas_of(reading.events)] == [text_of(items[1])]
    assert delta_count(reading) == 600
    turn = await turn_of(pair, reading.turn_id)
    assert (turn["state"], turn["event_count"]) == ("completed", len(reading.events))


def delta_count(reading: Reading) -> int:
    updates = [event["update"]["type"] for event in reading.events if event["type"] == "thread.item.updated"]
    return updates.count("assistant_message.content_part.text_delta")


async def test_a_slow_gateway_does_not_stop_what_another_goes_on_with(background_pair: Cluster) -> None:
    reading = Reading()
    slow = background_pair.gateways[0]
    async with background_pair.client(0).http as here, background_pair.client(1).http as there:
        attached = asyncio.create_task(begin(here, create("script:deltas=120&delay_ms=50"), reading))
        await reached(reading, 10)
        told = Reading(turn_id=reading.turn_id)
        following = asyncio.create_task(resume(there, told))
        os.kill(-slow.pid, signal.SIGSTOP)
        try:
            await reached(told, 60)
        finally:
            os.kill(-slow.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            assert await attached
            assert await following
    told.check()
    assert (reading.events, reading.numbers) == (told.events, told.numbers)
    assert errors_of(told.events) == []
    assert delta_count(told) == 120


async def test_what_goes_on_in_the_background_is_stopped_when_its_turn_is(background_pair: Cluster) -> None:
    """The gateway that began it is dead, and the user wants no more of it: the provider is told."""
    reading = Reading()
    text = f"Tell me {uuid4().hex}"
    async with background_pair.client(0).http as here, background_pair.client(1).http as there:
        await begin(here, create("script:deltas=400&delay_ms=100", text), reading, events=10)
        with killed(background_pair.gateways[0]):
            await there.post(f"/chatkit/turns/{reading.turn_id}/cancel")
            assert (await ended(background_pair, reading.turn_id))["state"] == "cancelled"
    received = ModelServer(background_pair.model).received()
    [response_id] = [r["response_id"] for r in received if text in str(r["body"])]
    assert f"/v1/responses/{response_id}/cancel" in [r["path"] for r in received]
