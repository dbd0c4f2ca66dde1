"""Connections to the store: answers are whole or an error, and what is left of a call harms no other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway import store_connections
from bobbin_gateway.store_connections import Address, Answer, Connections

REQUEST = b"GET / HTTP/1.1\r\nHost: store\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncontent-type: text/plain\r\n\r\n"
    b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
)
EARLY = b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\nLink: </x>\r\n\r\n" + WHOLE
HELLO = Answer(200, "text/plain", b"hello")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
"""Serves the connection with this number, from 0 on."""


class Server:
    """Counts its connections."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self.ended = asyncio.Queue[int]()
        """Numbers of connections that have ended."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        try:
            await self._serve(reader, writer, number)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.put_nowait(number)


@asynccontextmanager
async def server_of(serve: Serve, most: int = 4) -> AsyncGenerator[tuple[Connections, Server]]:
    counted = Server(serve)
    server = await asyncio.start_server(counted, "127.0.0.1", 0)
    connections = Connections(Address("127.0.0.1", server.sockets[0].getsockname()[1], None, ""), most)
    try:
        async with asyncio.timeout(10):
            yield connections, counted
    finally:
        connections.close()
        server.close()
        await server.wait_closed()


async def heard(reader: asyncio.StreamReader) -> None:
    """Read one request."""
    await reader.readuntil(b"\r\n\r\n")


def saying(*answers: bytes) -> Serve:
    """A server that gives these answers on each connection, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
        for answer in answers:
            await heard(reader)
            writer.write(answer)

    return serve


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
    while True:
        await heard(reader)
        writer.write(WHOLE)


@given(st.sampled_from([WHOLE, CHUNKED, EARLY]), st.lists(st.integers(1, 200), max_size=8))
async def test_an_answer_may_come_in_any_pieces(answer: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[start:end] for start, end in itertools.pairwise(places)]
    transport = Transport()
    connection = store_connections._Connection()
    connection.connection_made(transport)
    for _ in range(2):
        exchange = asyncio.create_task(connection.exchange(REQUEST))
        await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        assert await exchange == HELLO
    assert transport.written == REQUEST * 2
    assert connection.is_open


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


async def test_a_connection_serves_call_after_call_and_others_are_opened_as_needed() -> None:
    async with server_of(endless) as (connections, server):
        for _ in range(3):
            assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == 1
        assert await asyncio.gather(*(connections.exchange(REQUEST) for _ in range(20))) == [HELLO] * 20
        assert server.connections <= 4


async def test_a_call_waits_until_a_connection_is_free() -> None:
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
        while True:
            await heard(reader)
            await go_on.wait()
            writer.write(WHOLE)

    async with server_of(serve, most=1) as (connections, server):
        calls = [asyncio.create_task(connections.exchange(REQUEST)) for _ in range(3)]
        done, _ = await asyncio.wait(calls, timeout=0.2)
        assert not done
        go_on.set()
        assert await asyncio.gather(*calls) == [HELLO] * 3
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the server hung up"),
        (WHOLE[:-1], "the server hung up"),
        (CHUNKED[:-2], "the server hung up"),
        (b"220 smtp.example.com ESMTP\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not HTTP"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes, said: str) -> None:
    async with server_of(saying(answer)) as (connections, _):
        with pytest.raises(ConnectionError, match=said):
            await connections.exchange(REQUEST)


async def test_a_server_that_is_not_there_is_an_error() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await Connections(Address("127.0.0.1", port, None, ""), 4).exchange(REQUEST)


async def test_a_server_that_closes_after_its_answer_is_connected_to_again() -> None:
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    async with server_of(saying(closing)) as (connections, server):
        for _ in range(3):
            assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == 3


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with server_of(saying(WHOLE)) as (connections, server):
        assert await connections.exchange(REQUEST) == HELLO
        while connections._idle[0].is_open:  # noqa: ASYNC110 (the kernel tells it)
            await asyncio.sleep(0)
        assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == 2


async def test_a_call_may_ask_for_a_new_connection() -> None:
    async with server_of(endless) as (connections, server):
        await connections.exchange(REQUEST)
        await connections.exchange(REQUEST, anew=True)
        assert server.connections == 2


async def test_what_nobody_asked_for_ends_the_connection_and_is_no_answer() -> None:
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await heard(reader)
        writer.write(WHOLE)
        if number == 0:
            await answered.wait()
            writer.write(WHOLE.replace(b"hello", b"worse"))
        await heard(reader)

    async with server_of(serve) as (connections, server):
        assert await connections.exchange(REQUEST) == HELLO
        answered.set()
        assert await server.ended.get() == 0
        assert await connections.exchange(REQUEST) == HELLO


@pytest.mark.parametrize("size", [1, 40, len(WHOLE) - 1, len(WHOLE)])
async def test_what_comes_with_an_answer_is_not_the_next_ones(size: int) -> None:
    more = WHOLE.replace(b"hello", b"worse")[:size]
    async with server_of(saying(WHOLE + more, WHOLE)) as (connections, server):
        assert await connections.exchange(REQUEST) == HELLO
        assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == 2


async def test_a_call_that_is_cancelled_leaves_no_answer_behind() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await heard(reader)
        if number == 0:
            await asyncio.sleep(1)
            writer.write(WHOLE.replace(b"hello", b"worse"))
        else:
            writer.write(WHOLE)
        await heard(reader)

    async with server_of(serve, most=1) as (connections, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await connections.exchange(REQUEST)
        assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == 2


async def test_connections_that_nobody_needs_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_connections, "_IDLE_S", 1.0)
    async with server_of(endless) as (connections, server):
        await asyncio.gather(*(connections.exchange(REQUEST) for _ in range(4)))
        opened = server.connections
        while server.ended.qsize() < opened - 1:
            await connections.exchange(REQUEST)
            await asyncio.sleep(0.02)
        assert server.connections == opened
        await asyncio.sleep(1.1)
        assert await connections.exchange(REQUEST) == HELLO
        assert server.connections == opened + 1


async def test_all_is_closed_at_the_end() -> None:
    async with server_of(endless) as (connections, server):
        await connections.exchange(REQUEST)
        running = asyncio.create_task(connections.exchange(REQUEST, anew=True))
        connections.close()
        assert await running == HELLO
        assert {await server.ended.get(), await server.ended.get()} == {0, 1}


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://store:8001", "store:8001", ""),
        ("http://store", "store", ""),
        ("https://store/", "store", ""),
        ("https://store:80/chat/store/", "store:80", "/chat/store"),
        ("http://[::1]:8001", "[::1]:8001", ""),
    ],
)
def test_a_url_says_where_the_store_is(url: str, authority: str, path: str) -> None:
    address = Address.of(url)
    assert (address.authority, address.path) == (authority, path)
    assert (address.tls is not None) == url.startswith("https")


@pytest.mark.parametrize("url", ["", "store:8001", "ftp://store", "http://", "http://store:port"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|port"):
        Address.of(url)
