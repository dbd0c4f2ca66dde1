"""How a call of the store fails is told so that an operator knows."""

from __future__ import annotations

import asyncio

import pytest

from bobbin_gateway.store import StoreUnavailable, open_store


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
