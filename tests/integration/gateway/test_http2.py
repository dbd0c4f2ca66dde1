"""The gateway over HTTP/2 without TLS (h2c, prior knowledge), as proxies speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, text_of, thread_id_of
from tests.cluster import Cluster, Reading, begin, resume
from tests.http2 import Http2
from tests.turns import create, ended, model_hung_up_on, turn, unique

SPEAKS = "script:deltas=1000&delay_ms=20"
SHORT = "script:deltas=40&delay_ms=20"
LARGE = "script:deltas=12000"
WINDOW = 65_535
"""Bytes that a stream may carry before some are acknowledged (RFC 9113, section 6.9.2)."""


@pytest.fixture
async def http(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=cluster.gateways[0].url, timeout=30, http1=False, http2=True
    ) as client:
        yield client


@pytest.fixture
async def connection(cluster: Cluster) -> AsyncIterator[Http2]:
    async with Http2.connected(cluster.gateways[0].url) as one:
        yield one


async def test_a_conversation(http: httpx.AsyncClient) -> None:
    chat = Client(http)
    thread_id = thread_id_of(await chat.create("Hello", model="script:text=Hello yourself"))
    again = await chat.say(thread_id, "Again", model=SHORT)
    assert answers_of(again) == [deltas_of(again)]
    response = await chat.post({"type": "items.list", "params": {"thread_id": thread_id, "order": "asc"}})
    assert response.http_version == "HTTP/2"
    said = [text_of(item) for item in response.json()["data"]]
    assert said == ["Hello", "Hello yourself", "Again", deltas_of(again)]


async def test_errors_are_answered(http: httpx.AsyncClient) -> None:
    chat = Client(http)
    assert (await chat.post("no JSON")).status_code == 400
    too_large = await chat.post(" " * 2_200_000)
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_large")
    assert (await http.get("/nowhere")).status_code == 404
    assert (await chat.call("threads.list", limit=1))["data"] is not None


async def test_who_comes_back_misses_nothing(http: httpx.AsyncClient) -> None:
    reading = Reading()
    over = await begin(http, create(unique("A story"), SHORT), reading, events=5)
    while not over:
        over = await resume(http, reading, events=9)
    reading.check()
    assert answers_of(reading.events) == [deltas_of(reading.events)]


async def test_a_turn_is_cancelled_by_request(
    cluster: Cluster, http: httpx.AsyncClient, connection: Http2
) -> None:
    text = unique("A story")
    await connection.ask(create(text, SPEAKS))
    assert (await http.post(f"/chatkit/turns/{connection.turn_id}/cancel")).status_code < 300
    await connection.read_to_end(connection.stream_id)
    assert errors_of(connection.events(connection.stream_id)) == []
    await model_hung_up_on(cluster, text)
    assert (await turn(cluster, connection.turn_id))["state"] == "cancelled"


async def test_many_streams_share_one_connection(cluster: Cluster, connection: Http2) -> None:
    """As many as a proxy may open by default, and one that is given up changes nothing for the others."""
    streams: list[int] = []
    for _ in range(60):
        await connection.begin(create(unique("A story"), SHORT))
        streams.append(connection.stream_id)
    text = unique("Another one")
    await connection.ask(create(text, SPEAKS))
    connection.reset()
    assert (await ended(cluster, connection.turn_id))["state"] == "cancelled"
    await model_hung_up_on(cluster, text)
    await connection.read_to_end(*streams)
    for stream in streams:
        events = connection.events(stream)
        assert answers_of(events) == [deltas_of(events)]
        assert len(deltas_of(events)) == 160


async def test_who_does_not_read_a_stream_holds_up_that_stream_only(
    cluster: Cluster, connection: Http2
) -> None:
    """The turn itself goes on, and what its reader has not taken in waits for them."""
    await connection.begin(create(unique("A long story"), LARGE))
    slow, slow_turn = connection.stream_id, connection.turn_id
    connection.unread.add(slow)
    assert (await ended(cluster, slow_turn))["state"] == "completed"
    await connection.begin(create(unique("A story"), SHORT))
    await connection.read_to_end(connection.stream_id)
    assert answers_of(connection.events(connection.stream_id)) != []
    assert len(connection.data[slow]) == WINDOW
    connection.read_on(slow)
    await connection.read_to_end(slow)
    events = connection.events(slow)
    assert answers_of(events) == [deltas_of(events)]
    assert len(deltas_of(events)) == 48_000
