"""Calls of the store as they go over the wire, and how they fail: told so that an operator knows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bobbin_gateway.store import Store, StoreUnavailable, open_store
from tests.proxies import certificate

NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
TOKEN = "x" * 16


class Recorder:
    """A store that says nothing to everything; hangs up on requests of a connection when it is told to."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.hang_ups = 0
        """How many of the next requests it hangs up on."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(size))
                if self.hang_ups:
                    self.hang_ups -= 1
                    break
                writer.write(NOTHING)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def recording(
    path: str = "", tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[Store, Recorder]]:
    recorder = Recorder()
    async with await asyncio.start_server(recorder, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        host = "http://127.0.0.1" if tls is None else "https://localhost"
        async with open_store(f"{host}:{port}{path}", TOKEN, 5) as store:
            yield store, recorder


async def test_a_call_is_one_request_in_its_owners_name() -> None:
    async with recording("/behind/a/proxy/") as (store, recorder):
        await store.delete_attachment("ann", "a/../b?c#d e")
        await store.delete_attachment("ben", "a")
    first, second = recorder.requests
    lines = first.decode().split("\r\n")
    assert lines[0] == "DELETE /behind/a/proxy/v1/attachments/a%2F..%2Fb%3Fc%23d%20e HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN}" in lines
    assert "Bobbin-Owner: ann" in lines
    assert first.endswith(b"Content-Length: 0\r\n\r\n")
    assert b"Bobbin-Owner: ben\r\n" in second
    assert b"ann" not in second


@pytest.mark.parametrize("owner", ["ann\r\nBobbin-Owner: ben", "ann\n", "ann\0"])
async def test_no_owner_can_add_a_header(owner: str) -> None:
    async with recording() as (store, recorder):
        with pytest.raises(ValueError, match="Bobbin-Owner has characters"):
            await store.delete_attachment(owner, "a")
    assert recorder.requests == []


async def test_a_call_on_which_the_store_hangs_up_is_sent_once_more() -> None:
    async with recording() as (store, recorder):
        await store.delete_attachment("ann", "a")
        recorder.hang_ups = 1
        await store.delete_attachment("ann", "b")
        assert len(recorder.requests) == 3
        assert recorder.requests[1] == recorder.requests[2]
        recorder.hang_ups = 2
        with pytest.raises(StoreUnavailable, match=r"^DELETE /v1/attachments/c: the server hung up$"):
            await store.delete_attachment("ann", "c")


async def test_a_store_may_be_behind_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "tls.pem")
    async with recording(tls=tls) as (store, recorder):
        await store.delete_attachment("ann", "a")
    assert len(recorder.requests) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    async with recording(tls=tls) as (store, recorder):
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await store.delete_attachment("ann", "a")
    assert recorder.requests == []


async def test_a_store_that_is_silent_is_said_to_be() -> None:
    """A timeout has no text of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with open_store(f"http://127.0.0.1:{port}", "x" * 16, 0.1) as store:
            with pytest.raises(StoreUnavailable, match=r"^GET /v1/turns/trn_1: TimeoutError$"):
                await store.get_turn("ann", "trn_1")
