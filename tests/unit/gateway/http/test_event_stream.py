"""What a stream does when its client leaves at an awkward moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bobbin_gateway.http.event_stream import LaterStream, Sender
from bobbin_gateway.settings import Settings
from bobbin_gateway.turns.log import EventLog
from bobbin_gateway.turns.source import NumberedSource, TurnReader

SETTINGS = Settings(store_token="x" * 16, keepalive_s=0.05)


class Endless(NumberedSource):
    """A turn that goes on."""

    turn_id = "trn_1"

    def __init__(self) -> None:
        self.log = EventLog()
        self.readers = 0

    def enter(self, *, resumable: bool) -> None:
        del resumable
        self.readers += 1

    def leave(self) -> None:
        self.readers -= 1


async def test_a_client_that_leaves_while_its_turn_begins_does_not_go_on_reading() -> None:
    source = Endless()
    gone, pinging, sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def begin() -> TurnReader:
        await pinging.wait()
        source.enter(resumable=False)
        return TurnReader(source, SETTINGS.keepalive_s, reopen=lambda _: never())

    async def never() -> Endless:
        raise AssertionError("the turn does not move")

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            pinging.set()
            await sent.wait()  # a keep-alive that takes its time

    stream = LaterStream("trn_1", begin, SETTINGS)
    serving = asyncio.create_task(stream({"type": "http"}, receive, send))  # type: ignore[arg-type, typeddict-item] (no more of a scope is read)
    async with asyncio.timeout(5):
        await pinging.wait()
        await asyncio.sleep(0.01)  # it has begun
        gone.set()
        await asyncio.sleep(0.01)
        sent.set()
        await serving
    assert source.readers == 0


async def test_a_client_has_time_for_each_piece_and_no_more() -> None:
    taken: list[Any] = []
    stuck = asyncio.Event()

    async def send(message: Any) -> None:
        taken.append(message["body"])
        if message["body"] == b"second":
            await stuck.wait()

    async def serve() -> None:
        async with Sender(send, 0.02) as sender:
            await sender.send(b"first")
            await asyncio.sleep(0.05)  # it is not the client who is silent
            await sender.send(b"second")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(serve(), 5)
    assert taken == [b"first", b"second"]
