"""A stream through each proxy is the stream that the gateway sends, as it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, thread_id_of
from tests.cluster import Cluster, Reading, begin, resume
from tests.feeds import listening
from tests.http2 import Http2
from tests.integration.proxies.conftest import Site
from tests.proxies import STREAM_SILENCE_S, Proxy
from tests.turns import asking, create, ended, model_hung_up_on, turn, unique

ONE_AND_NO_MORE = "script:deltas=3&stall_after=1"
NOTHING = "script:deltas=3&stall_after=0"
SPEAKS = "script:deltas=1000&delay_ms=20"
SHORT = "script:deltas=30&delay_ms=20"


@asynccontextmanager
async def reading_one_delta(proxy: Proxy, text: str, model: str, deltas: int = 1) -> AsyncGenerator[str]:
    """Read an answer up to a delta, and leave as a browser does: a reset stream, or a closed connection."""
    if proxy.speaks_http2:
        async with Http2.connected(proxy.url, proxy.ca) as connection, asyncio.timeout(20):
            await connection.ask(create(text, model), **{"accept-encoding": "gzip"})
            while len(deltas_of(connection.events(connection.stream_id))) < deltas:
                await connection.read()
            yield connection.turn_id
            connection.reset()
            await _still_good(connection)
    else:
        async with (
            proxy.client() as http,
            asyncio.timeout(20),
            asking(http, create(text, model), **{"accept-encoding": "gzip"}) as answer,
        ):
            await answer.read(deltas=deltas)
            yield answer.turn_id


async def _still_good(connection: Http2) -> None:
    """The connection that a stream was reset on carries others."""
    await connection.ask(create(unique("Hello"), "script:text=here"))
    await connection.read_to_end(connection.stream_id)
    assert answers_of(connection.events(connection.stream_id)) == ["here"]


async def test_a_token_is_there_before_the_next_is_made_and_who_leaves_stops_the_model(
    proxy: Proxy, cluster: Cluster
) -> None:
    """Nothing follows that could push it through a buffer, or at which a proxy would find its client gone."""
    text = unique("Hello")
    async with reading_one_delta(proxy, text, ONE_AND_NO_MORE) as turn_id:
        assert "ended_at" not in await turn(cluster, turn_id)
    assert (await ended(cluster, turn_id, within_s=15))["state"] == "cancelled"
    await model_hung_up_on(cluster, text)


@pytest.mark.parametrize("model", [SPEAKS, NOTHING], ids=["speaking", "before the first token"])
async def test_who_leaves_stops_the_model(proxy: Proxy, cluster: Cluster, model: str) -> None:
    text = unique("A story")
    async with reading_one_delta(proxy, text, model, deltas=int(model == SPEAKS)) as turn_id:
        pass
    assert (await ended(cluster, turn_id, within_s=15))["state"] == "cancelled"
    await model_hung_up_on(cluster, text)


async def test_headers_are_the_gateways(http: httpx.AsyncClient, proxy: Proxy) -> None:
    """No stream is compressed, whatever the client reads; other answers are."""
    body = json.dumps(create("Hello", "script:deltas=500"))
    headers = {"content-type": "application/json", "accept-encoding": "gzip, br, zstd"}
    async with http.stream("POST", "/chatkit", content=body, headers=headers) as response:
        assert response.http_version == ("HTTP/2" if proxy.speaks_http2 else "HTTP/1.1")
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache, no-transform"
        assert "content-encoding" not in response.headers
        assert response.headers["chatkit-turn-id"].startswith("trn_")
        await response.aread()
    asked = {"type": "threads.list", "params": {"limit": 100}}
    answer = await Client(http).post(asked, **{"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["data"]


async def test_keep_alives_carry_a_stream_through_a_long_silence(site: Site) -> None:
    """Over twice the time that the proxies wait for a word; and no stream or feed is cut for its length."""
    silent = dict(zip(site.proxies, await asyncio.gather(*map(_think, site.proxies.values())), strict=True))
    assert min(silent.values()) >= 2 * STREAM_SILENCE_S, silent


async def _think(proxy: Proxy) -> int:
    """Follow an answer that is long in coming: how many keep-alives there were."""
    model = f"script:deltas=50&delay_ms=50&first_ms={STREAM_SILENCE_S * 2200}"
    content, headers = json.dumps(create("Think", model)), {"content-type": "application/json"}
    async with proxy.client() as http, listening(http) as tab:
        async with http.stream("POST", "/chatkit", content=content, headers=headers) as response:
            lines = [line async for line in response.aiter_lines()]
        turn_id = response.headers["chatkit-turn-id"]
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        await tab.until(lambda now: answers_of(now.of_turn(turn_id)) == answers_of(events))
        assert (tab.connections, tab.ended) == (1, False)
    assert len(deltas_of(events)) == 200
    assert answers_of(events) == [deltas_of(events)]
    return lines.count(": ping")


async def test_who_comes_back_misses_nothing(http: httpx.AsyncClient) -> None:
    """Whichever gateway the proxy chooses."""
    reading = Reading()
    over = await begin(http, create(unique("A story"), SHORT), reading, events=5)
    comings = 0
    while not over:
        over = await resume(http, reading, events=9)
        comings += 1
    reading.check()
    assert comings > 3
    assert answers_of(reading.events) == [deltas_of(reading.events)]
    assert len(deltas_of(reading.events)) == 120


async def test_many_streams_at_once(http: httpx.AsyncClient) -> None:
    """Over HTTP/2 the client has one connection for all."""
    texts = [unique("A story") for _ in range(20)]
    answers = await asyncio.gather(*(Client(http).create(text, model=SHORT) for text in texts))
    assert [len(deltas_of(events)) for events in answers] == [120] * len(texts)
    assert len({thread_id_of(events) for events in answers}) == len(texts)


WINDOW = 65_535
"""What may be sent of a stream that is not read (RFC 9113, section 6.9.2)."""


async def test_who_does_not_read_a_stream_holds_up_that_stream_only(proxy: Proxy, cluster: Cluster) -> None:
    """Also where a proxy puts the streams of its clients on one connection to the gateway."""
    if not proxy.speaks_http2:
        pytest.skip("HTTP/1.1 has one stream per connection")
    async with Http2.connected(proxy.url, proxy.ca) as connection:
        await connection.begin(create(unique("A long story"), "script:deltas=8000"))
        slow = connection.stream_id
        connection.unread.add(slow)
        async with asyncio.timeout(20):
            while (
                len(connection.data.get(slow, b"")) < WINDOW
            ):  # soon: a proxy waits no longer than for a keep-alive
                await connection.read()
        others: list[int] = []
        for _ in range(4):
            await connection.begin(create(unique("A story"), SHORT))
            others.append(connection.stream_id)
        await connection.read_to_end(*others)
        assert slow not in connection.ended
        assert all(answers_of(connection.events(stream)) for stream in others)
        connection.read_on(slow)
        await connection.read_to_end(slow)
        events = connection.events(slow)
    assert answers_of(events) == [deltas_of(events)]
    assert len(deltas_of(events)) == 32_000
