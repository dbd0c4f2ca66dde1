"""The openai package as it is set up here: what reaches a model service over the wire."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import openai
import pytest

from bobbin_gateway.openai_agent.body import open_body
from bobbin_gateway.openai_agent.client import ModelClient, open_client
from tests.unit.gateway.openai_agent.raw_server import RawServer, piece, raw_server, start

PATH = "/responses"


def client_of(server: RawServer, *, host: str = "127.0.0.1", read_timeout_s: float = 5) -> ModelClient:
    base_url = server.url.replace("127.0.0.1", host)
    return open_client(api_key="sk-test", base_url=base_url, read_timeout_s=read_timeout_s)


async def read(client: ModelClient, body: bytes) -> bytes:
    response = await client.open_stream(PATH, body)
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def greet(_body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    writer.write(start("200 OK", "set-cookie: user=alice; path=/") + piece(b"hello") + piece(b""))


async def test_each_request_is_whole_and_has_its_own_body() -> None:
    async with raw_server(greet) as server, client_of(server) as client:
        bodies = [b'{"n": 1}', b'{"n": 22, "more": "of it"}', b"{}"]
        assert [await read(client, body) for body in bodies] == [b"hello"] * 3
        assert server.requests == [{"n": 1}, {"n": 22, "more": "of it"}, {}]
    for head, body in zip(server.heads, bodies, strict=True):
        assert head.startswith(f"POST /v1{PATH} HTTP/1.1\r\n")
        headers = dict(re.findall(r"(?m)^([\w-]+): (.*)\r$", head.lower()))
        assert headers["authorization"] == "bearer sk-test"
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(body))
        assert headers["host"] in server.url
        assert headers["user-agent"] == f"asyncopenai/python {openai.__version__}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # some keep the cookies of names only
async def test_a_cookie_of_one_users_answer_is_not_sent_with_another_users_request(host: str) -> None:
    async with raw_server(greet) as server, client_of(server, host=host) as client:
        for _ in range(2):
            await read(client, b"{}")
            await client.post("/titles", cast_to=openai.BaseModel, body={})
    assert len(server.heads) == 4
    assert not any("cookie" in head.lower() for head in server.heads)


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_service_that_has_moved_is_followed(status: str) -> None:
    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if server.heads[-1].startswith("POST /v1"):
            writer.write(start(status, "location: /v2/responses") + piece(b""))
        else:
            await greet(body, writer)

    async with raw_server(reply) as server, client_of(server) as client:
        for _ in range(2):
            assert await read(client, b'{"n": 1}') == b"hello"
            assert server.heads[-1].startswith("POST /v2/responses")
            assert server.requests[-1] == {"n": 1}


async def test_a_retry_says_that_it_is_one_and_is_the_same_otherwise() -> None:
    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if len(server.heads) % 2:
            writer.write(start("500 Oops", "retry-after-ms: 1") + piece(b"{}") + piece(b""))
        else:
            await greet(body, writer)

    async with raw_server(reply) as server, client_of(server) as client:
        for number in (1, 2):
            assert await read(client, b'{"n": %d}' % number) == b"hello"
    assert [request["n"] for request in server.requests] == [1, 1, 2, 2]
    counts = [re.search(r"(?i)x-stainless-retry-count: (\d)", head) for head in server.heads]
    assert [count and count[1] for count in counts] == ["0", "1", "0", "1"]


async def test_silence_is_the_services_and_not_ours() -> None:
    async def reply(_body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start("200 OK") + piece(b"hello"))
        await writer.drain()
        await asyncio.sleep(0.5)
        writer.write(piece(b"again"))
        await writer.drain()
        await asyncio.Event().wait()

    async with (
        raw_server(reply) as server,
        client_of(server, read_timeout_s=1) as client,
        open_body(await client.open_stream(PATH, b"{}")) as chunks,
    ):
        assert await anext(chunks) == b"hello"
        await asyncio.sleep(1.5)
        assert await anext(chunks) == b"again"
        with pytest.raises(httpx2.ReadTimeout):
            await asyncio.wait_for(anext(chunks), 5)


async def test_behind_a_proxy_it_is_the_proxy_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(greet) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        client = open_client(api_key="sk-test", base_url="http://model.example/v1", read_timeout_s=5)
        async with client:
            assert await read(client, b"{}") == b"hello"
    assert server.heads[0].startswith(f"POST http://model.example/v1{PATH} HTTP/1.1\r\n")
