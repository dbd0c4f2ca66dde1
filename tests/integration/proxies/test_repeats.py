"""What a gateway may have begun is not asked for again: a repeated POST could say everything twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import pytest

from tests.client import Client
from tests.processes import free_port, running
from tests.proxies import ADDRESSES, NAMES, Names, Proxy, proxy_service, require_proxies
from tests.stack import temporary_data
from tests.turns import create

READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
STOPPING = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\nstopping"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone"


class Unreliable:
    """Says that it is ready, hears a request to its end, and gives this answer, or dies without a word."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.heard: list[str] = []
        """The first lines of all requests."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while (answer := await self._answer_to(reader)) is not None:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy is done with the connection
        finally:
            writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> bytes | None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        if " /health/" in first:
            return READY
        self.heard.append(first)
        return self.answer


@asynccontextmanager
async def listening(gateways: list[Unreliable], port: int) -> AsyncGenerator[None]:
    """They listen where the proxies expect gateways."""
    async with AsyncExitStack() as stack:
        for gateway, host in zip(gateways, ADDRESSES, strict=False):
            await stack.enter_async_context(await asyncio.start_server(gateway, host, port))
        yield


@pytest.fixture
def gateway_port() -> int:
    return free_port()


@pytest.fixture(params=NAMES)
def proxy(gateway_port: int, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """Each proxy, not yet started: it waits for something to answer."""
    require_proxies()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_data())
        names = stack.enter_context(running(Names(folder, ADDRESSES[:2])))
        one = proxy_service(request.param, folder, gateway_port, names, http2=False)
        stack.callback(one.stop)
        yield one


async def test_a_request_that_was_heard_is_not_repeated(proxy: Proxy, gateway_port: int) -> None:
    gateways = [Unreliable(None), Unreliable(None)]
    async with listening(gateways, gateway_port):
        await asyncio.to_thread(proxy.start)
        async with proxy.client() as http:
            response = await Client(http).post(create("Hello", "any"))
    assert response.status_code == 502
    assert [line for one in gateways for line in one.heard] == ["POST /chatkit HTTP/1.1"]


async def test_a_gateway_that_is_not_there_is_passed_over(proxy: Proxy, gateway_port: int) -> None:
    """A request with a body, too: nothing of it has been sent."""
    only = Unreliable(ANSWER)
    async with listening([only], gateway_port):
        await asyncio.to_thread(proxy.start)
        async with proxy.client() as http:
            for n in range(8):
                response = await Client(http).post(create(f"Hello {n}" + "x" * 200_000, "any"))
                assert (response.status_code, response.text) == (200, "done")
    assert only.heard == ["POST /chatkit HTTP/1.1"] * 8


async def test_nginx_asks_another_gateway_when_one_is_stopping(gateway_port: int) -> None:
    """The others have seen by then that it is not ready; nginx does not ask."""
    require_proxies()
    stopping, other = Unreliable(STOPPING), Unreliable(ANSWER)
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_data())
        names = stack.enter_context(running(Names(folder, ADDRESSES[:2])))
        proxy = proxy_service("nginx", folder, gateway_port, names, http2=False)
        stack.callback(proxy.stop)
        async with listening([stopping, other], gateway_port):
            await asyncio.to_thread(proxy.start)
            async with proxy.client() as http:
                while not stopping.heard:
                    response = await Client(http).post(create("Hello", "any"))
                    assert (response.status_code, response.text) == (200, "done")
                other.answer = STOPPING
                response = await Client(http).post(create("Hello", "any"))
    assert (response.status_code, response.text) == (503, "stopping")
