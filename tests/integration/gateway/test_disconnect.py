"""A client that leaves, however it leaves: at once, in a tunnel for a while, or without a word."""

from __future__ import annotations

import asyncio
import ctypes
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.client import errors_of, text_of
from tests.cluster import RESUMABLE, Cluster, Reading, begin, more_gateways
from tests.conftest import require_or_skip
from tests.http2 import Http2
from tests.turns import (
    asking,
    create,
    deserted,
    ended,
    following,
    kinds,
    model_hung_up_on,
    said_by_user,
    stored,
    turn,
    unique,
)

SPEAKS = "script:deltas=1000&delay_ms=20"
SHORT = "script:deltas=60&delay_ms=20"
SILENT = "script:deltas=5&first_ms=60000"
GRACE_S = 3.0


@pytest.fixture(scope="module")
def patient(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways that wait a while for readers who left."""
    with more_gateways(cluster, CANCEL_GRACE_S=str(GRACE_S)) as one:
        yield one


@pytest.fixture(scope="module")
def watchful(cluster: Cluster) -> Iterator[Cluster]:
    """A gateway that soon asks whether its readers are still there."""
    with more_gateways(cluster, 1, KEEPALIVE_S="1", SEND_TIMEOUT_S="2") as one:
        yield one


class Http1:
    """A request by hand over HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.socket: socket.socket = writer.get_extra_info("socket")
        self.turn_id = ""

    async def ask(self, body: dict[str, Any], **headers: str) -> None:
        """Send it, and read up to the first event."""
        content = json.dumps(body).encode()
        all_headers = {"host": "localhost", "content-length": str(len(content)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        self.writer.write(f"POST /chatkit HTTP/1.1\r\n{lines}\r\n".encode() + content)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 ")
        self.turn_id = head.lower().partition("chatkit-turn-id: ")[2].partition("\r\n")[0]
        await self.reader.readuntil(b"data: ")

    async def leave(self) -> None:
        """Close the connection."""
        self.writer.close()


@asynccontextmanager
async def connected(kind: type[Http1 | Http2], cluster: Cluster) -> AsyncIterator[Any]:
    """A connection of its own to the first gateway."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.gateways[0].port)
    try:
        yield kind(reader, writer)
    finally:
        writer.transport.abort()


HTTP = pytest.mark.parametrize("http", [Http1, Http2], ids=["HTTP/1.1", "HTTP/2"])
MODEL = pytest.mark.parametrize("model", [SPEAKS, SILENT], ids=["speaking", "silent"])


@HTTP
@MODEL
@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
async def test_who_closes_the_connection_stops_the_answer(
    cluster: Cluster, http: type[Http1 | Http2], model: str, abruptly: bool
) -> None:
    text = unique("A story")
    async with connected(http, cluster) as client:
        await client.ask(create(text, model))
        if abruptly:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.leave()
        assert (await ended(cluster, client.turn_id, within_s=15))["state"] == "cancelled"
    await model_hung_up_on(cluster, text)


@MODEL
async def test_who_resets_one_stream_stops_that_answer_only(cluster: Cluster, model: str) -> None:
    """Over HTTP/2, where a browser's Stop leaves the connection open."""
    text = unique("A story")
    async with connected(Http2, cluster) as client:
        await client.ask(create(unique("Another one"), SHORT))
        other_turn, other_stream = client.turn_id, client.stream_id
        await client.ask(create(text, model))
        client.reset()
        assert (await ended(cluster, client.turn_id, within_s=15))["state"] == "cancelled"
        await model_hung_up_on(cluster, text)
        async with asyncio.timeout(10):
            while other_stream not in client.ended:
                await client.read()
    assert (await turn(cluster, other_turn))["state"] == "completed"
    assert client.data[other_stream].count(b"text_delta") == 60


@HTTP
@pytest.mark.parametrize("how", ["closed", "stream reset"])
async def test_a_numbered_client_may_leave(cluster: Cluster, http: type[Http1 | Http2], how: str) -> None:
    if how == "stream reset" and http is Http1:
        pytest.skip("HTTP/1.1 has no streams to reset")
    async with connected(http, cluster) as client:
        await client.ask(create(unique("A story"), SHORT), **{"chatkit-resumable": "1"})
        if how == "closed":
            await client.leave()
        else:
            client.reset()
        assert (await ended(cluster, client.turn_id))["state"] == "completed"


def vanish(connection: socket.socket) -> None:
    """From now on the peer hears nothing of us, as if the cable were cut.

    A filter drops whatever arrives before TCP sees it, so nothing is acknowledged; and as long as the socket
    is open, nothing is sent.
    """
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET: 0 bytes
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


_SO_ATTACH_FILTER = 26


@HTTP
@MODEL
async def test_who_vanishes_is_noticed_by_failed_keepalives(
    watchful: Cluster, http: type[Http1 | Http2], model: str
) -> None:
    """Within KEEPALIVE_S + SEND_TIMEOUT_S (here 3 s), not when TCP gives up after a quarter of an hour."""
    require_or_skip(there=sys.platform == "linux", what="only Linux can make a socket deaf")
    text = unique("A story")
    async with connected(http, watchful) as client:
        await client.ask(create(text, model))
        began = time.monotonic()
        vanish(client.socket)
        record = await ended(watchful, client.turn_id, within_s=15)
        took_s = time.monotonic() - began
    assert record["state"] == "cancelled"
    assert took_s > 1
    await model_hung_up_on(watchful, text)


async def test_who_is_there_but_hears_nothing_for_long_is_not_taken_for_gone(watchful: Cluster) -> None:
    """Silence of the model is no absence of the reader: it acknowledges the keep-alives."""
    async with (
        watchful.client().http as http,
        asking(http, create(unique("Think"), "script:deltas=3&first_ms=6000")) as answer,
    ):
        await answer.read()
    assert answer.delta_count == 3


async def test_without_a_grace_period_leaving_means_stop(cluster: Cluster) -> None:
    text = unique("A story")
    async with cluster.client(0).http as http:
        async with asking(http, create(text, SPEAKS)) as answer:
            await answer.read(deltas=5)
            left = time.monotonic()
        record = await ended(cluster, answer.turn_id)
        took_s = time.monotonic() - left
    assert record["state"] == "cancelled"
    assert took_s < 8
    await model_hung_up_on(cluster, text)
    items = await stored(cluster, answer.thread_id)
    assert kinds(items) == ["user_message", "assistant_message", "sdk_hidden_context"]
    assert text_of(items[1]).startswith(answer.text)


@MODEL
async def test_with_a_grace_period_the_answer_is_stopped_after_it(patient: Cluster, model: str) -> None:
    text = unique("A story")
    async with patient.client(0).http as http:
        async with asking(http, create(text, model)) as answer:
            await answer.read(events=3)
            left = time.monotonic()
        record = await ended(patient, answer.turn_id)
        took_s = time.monotonic() - left
    assert record["state"] == "cancelled"
    assert GRACE_S - 0.05 < took_s < GRACE_S + 10
    await model_hung_up_on(patient, text)


async def test_an_answer_that_is_done_within_the_grace_period_is_kept_whole(patient: Cluster) -> None:
    async with patient.client(0).http as http:
        async with asking(http, create(unique("A story"), "script:deltas=40&delay_ms=10")) as answer:
            await answer.read(deltas=3)
        assert (await ended(patient, answer.turn_id))["state"] == "completed"
    assert kinds(await stored(patient, answer.thread_id)) == ["user_message", "assistant_message"]


@pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])
async def test_who_sends_the_request_again_within_the_grace_period_gets_the_whole_answer(
    patient: Cluster, where: int
) -> None:
    """The answer goes on behind the end of the grace period."""
    text = unique("A story")
    body = create(text, "script:deltas=200&delay_ms=20")
    async with patient.client(0).http as here, patient.client(where).http as there:
        async with asking(here, body) as first:
            await first.read(deltas=5)
        await deserted(patient, first.turn_id)
        async with asking(there, body) as second:
            await second.read()
    assert second.turn_id == first.turn_id
    assert second.events[: len(first.events)] == first.events
    assert second.delta_count == 200
    assert errors_of(second.events) == []
    items = await stored(patient, first.thread_id)
    assert kinds(items) == ["user_message", "assistant_message"]
    assert text_of(items[1]) == second.text


@pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])
async def test_who_follows_the_turn_within_the_grace_period_keeps_it_going(
    patient: Cluster, where: int
) -> None:
    """As a page does that was loaded again: it knows the turn by its id."""
    async with patient.client(0).http as here, patient.client(where).http as there:
        async with asking(here, create(unique("A story"), "script:deltas=200&delay_ms=20")) as first:
            await first.read(deltas=5)
        await deserted(patient, first.turn_id)
        async with following(there, first.turn_id) as second:
            await second.read()
    assert second.delta_count == 200
    assert (await ended(patient, first.turn_id))["state"] == "completed"


@pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])
async def test_who_came_back_and_leaves_again_stops_the_answer_after_all(
    patient: Cluster, where: int
) -> None:
    text = unique("A story")
    body = create(text, "script:deltas=3000&delay_ms=20")
    async with patient.client(0).http as here, patient.client(where).http as there:
        async with asking(here, body) as first:
            await first.read(deltas=5)
        await deserted(patient, first.turn_id)
        async with asking(there, body) as second:
            await second.read(deltas=10)
            await asyncio.sleep(GRACE_S + 0.5)
        assert second.turn_id == first.turn_id
        assert "ended_at" not in await turn(patient, first.turn_id)
        assert (await ended(patient, first.turn_id, within_s=GRACE_S + 15))["state"] == "cancelled"
    await model_hung_up_on(patient, text)


async def test_one_of_two_readers_may_leave(cluster: Cluster) -> None:
    body = create(unique("A story"), SHORT)
    key = {"Idempotency-Key": uuid4().hex}
    async with (
        cluster.client(0).http as http,
        asking(http, body, **key) as first,
    ):
        await first.read(deltas=3)
        async with asking(http, body, **key) as second:
            await second.read(deltas=3)
        await first.read()
        assert first.delta_count == 60
    assert first.turn_id == second.turn_id
    async with cluster.client(0).http as http, asking(http, body, **key) as third:
        await third.read()
    assert third.turn_id == first.turn_id


@pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])
async def test_the_one_that_stays_gets_the_whole_answer(cluster: Cluster, where: int) -> None:
    """Even if the first connection is found to be lost only after its request was sent again."""
    body = create(unique("A story"), "script:deltas=100&delay_ms=20")
    key = {"Idempotency-Key": uuid4().hex}
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        async with asking(here, body, **key) as first:
            await first.read(deltas=3)
            entered = asking(there, body, **key)
            second = await entered.__aenter__()
            await second.read(deltas=10)
        try:
            await second.read()
        finally:
            await entered.__aexit__(None, None, None)
    assert second.delta_count == 100
    assert (await ended(cluster, first.turn_id))["state"] == "completed"
    assert said_by_user(await stored(cluster, first.thread_id)) == [
        body["params"]["input"]["content"][0]["text"]
    ]


async def test_a_numbered_reader_keeps_the_answer_going_for_all(cluster: Cluster) -> None:
    """Whoever leaves without numbers does not stop what another may come back for."""
    reading = Reading()
    body = create(unique("A story"), SHORT)
    key = {"Idempotency-Key": uuid4().hex}
    async with cluster.client(0).http as http:
        await begin(http, body, reading, events=5, **RESUMABLE, **key)
        async with asking(http, body, **key) as answer:
            await answer.read(deltas=5)
        assert answer.turn_id == reading.turn_id
        assert (await ended(cluster, reading.turn_id))["state"] == "completed"
