"""A reader that loses its connection comes back to the same answer, on any gateway."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.client import answers_of, deltas_of, errors_of, message
from tests.cluster import RESUMABLE, Cluster, Reading, begin, resume

SLOW = "script:deltas=60&delay_ms=20"


def create(model: str, text: str = "Tell me a story") -> dict[str, object]:
    return {"type": "threads.create", "params": {"input": message(text, model=model)}}


def delta_count(reading: Reading) -> int:
    updates = [event["update"] for event in reading.events if event["type"] == "thread.item.updated"]
    return sum(update["type"] == "assistant_message.content_part.text_delta" for update in updates)


@pytest.mark.parametrize("elsewhere", [0, 1], ids=["same gateway", "another gateway"])
async def test_a_turn_outlives_its_connection_and_is_read_to_its_end(
    cluster: Cluster, elsewhere: int
) -> None:
    reading = Reading()
    async with cluster.client(0).http as here, cluster.client(elsewhere).http as there:
        assert not await begin(here, create(SLOW), reading, events=12)
        assert await resume(there, reading)
    reading.check()
    assert delta_count(reading) == 60
    assert answers_of(reading.events) == [deltas_of(reading.events)]
    assert errors_of(reading.events) == []


async def test_what_is_read_again_is_byte_for_byte_the_same(cluster: Cluster) -> None:
    reading = Reading()
    bodies: list[bytes] = []
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        await begin(here, create("script:deltas=40&delay_ms=5"), reading)
        path = f"/chatkit/turns/{reading.turn_id}/events"
        for http in (here, there):
            response = await http.get(path)
            assert response.status_code == 200
            bodies.append(response.content)
    assert bodies[0] == bodies[1]
    assert bodies[0].count(b"id: ") == len(reading.events)


@pytest.mark.parametrize("gateway", [0, 1])
async def test_who_has_everything_is_told_to_stop_asking(cluster: Cluster, gateway: int) -> None:
    reading = Reading()
    async with cluster.client(0).http as here, cluster.client(gateway).http as there:
        assert await begin(here, create("script:deltas=5"), reading)
        response = await there.get(
            f"/chatkit/turns/{reading.turn_id}/events", headers={"last-event-id": reading.last_id}
        )
    assert (response.status_code, response.content) == (204, b"")


async def test_after_in_the_query_does_what_the_header_does(cluster: Cluster) -> None:
    reading = Reading()
    async with cluster.client(0).http as http:
        await begin(http, create("script:deltas=5"), reading)
        path = f"/chatkit/turns/{reading.turn_id}/events"
        by_header = await http.get(path, headers={"last-event-id": f"{reading.turn_id}:3"})
        by_query = await http.get(path, params={"after": "3"})
    assert by_header.content == by_query.content
    assert by_query.content.startswith(f"id: {reading.turn_id}:4\n".encode())


@pytest.mark.parametrize("gateway", [0, 1])
@pytest.mark.parametrize(
    ("after", "status"),
    [("99", 400), ("trn_x:1", 400), ("x", 400), ("-1", 400), ("1.5", 400), ("9" * 40, 400), ("²", 400)],
)
async def test_an_event_that_the_turn_has_not_had_is_refused(
    cluster: Cluster, gateway: int, after: str, status: int
) -> None:
    reading = Reading()
    async with cluster.client(0).http as here, cluster.client(gateway).http as there:
        await begin(here, create("script:deltas=2"), reading)
        response = await there.get(f"/chatkit/turns/{reading.turn_id}/events", params={"after": after})
    assert response.status_code == status
    assert response.json()["field"] == "Last-Event-ID"


async def test_a_turn_that_is_not_there_is_not_found(cluster: Cluster) -> None:
    async with cluster.client(0).http as http:
        for turn_id in ("trn_00000000000000000000000000000000", "x", "%20"):
            response = await http.get(f"/chatkit/turns/{turn_id}/events")
            assert response.status_code in {400, 404}, turn_id
            assert response.json()["message"]


async def test_without_the_header_there_are_no_numbers(cluster: Cluster) -> None:
    async with cluster.client(0).http as http:
        response = await http.post("/chatkit", json=create("script:deltas=5"))
    assert b"id:" not in response.content
    assert response.headers["chatkit-turn-id"].startswith("trn_")


async def test_many_readers_lose_their_connections_at_random_and_miss_nothing(cluster: Cluster) -> None:
    rng = random.Random(7)

    async def one_reader(number: int) -> int:
        reading = Reading()
        body = create("script:deltas=40&delay_ms=15", f"reader {number}")
        clients = [cluster.client(index).http for index in (0, 1)]
        drops = 0
        try:
            done = await begin(rng.choice(clients), body, reading, events=rng.randint(0, 10))
            while not done:
                drops += 1
                await asyncio.sleep(rng.choice([0, 0, 0.05]))
                done = await resume(rng.choice(clients), reading, events=rng.randint(1, 12))
        finally:
            for client in clients:
                await client.aclose()
        reading.check()
        assert delta_count(reading) == 40
        assert answers_of(reading.events) == [deltas_of(reading.events)]
        return drops

    drops = await asyncio.gather(*(one_reader(number) for number in range(20)))
    assert sum(drops) > 40


async def test_a_reader_that_asked_for_numbers_sees_the_first_word_soon(cluster: Cluster) -> None:
    """Safe does not mean late: a lone event is in the journal within one call to the store."""
    async with cluster.client(0).http as http:
        body = create("script:first_ms=30000&deltas=3")
        async with (
            http.stream("POST", "/chatkit", json=body, headers=RESUMABLE) as response,
            asyncio.timeout(10),
        ):
            first = await anext(response.aiter_bytes())
        await http.post(f"/chatkit/turns/{response.headers['chatkit-turn-id']}/cancel")
    assert first.startswith(b"id: trn_")


async def test_who_has_read_further_than_another_reader_there_is_let_in(cluster: Cluster) -> None:
    """What a gateway knows of a turn that runs elsewhere may be a moment old: no fault of the reader's."""
    ahead, behind = Reading(), Reading()
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        await begin(here, create("script:deltas=200&delay_ms=10"), ahead, events=5)
        behind.turn_id = ahead.turn_id
        following = asyncio.create_task(resume(there, behind))
        for _ in range(30):
            await resume(here, ahead, events=2)
            await resume(there, ahead, events=1)
        assert await resume(here, ahead)
        assert await following
    ahead.check()
    assert (ahead.events, ahead.numbers) == (behind.events, behind.numbers)
