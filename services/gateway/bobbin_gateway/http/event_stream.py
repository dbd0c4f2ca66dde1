"""A turn's events as an HTTP response.

The response is an ASGI application of its own: it holds one reader and no more, and it learns from
``receive`` that the client is gone, also while the turn is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import structlog
from litestar.types import Receive, Scope, Send

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import Draining, refusal_event
from bobbin_gateway.turns.source import TurnReader
from bobbin_gateway.watchdog import Watchdog
from bobbin_protocol.events import ErrorEvent
from bobbin_protocol.sse import PING, encode_event
from bobbin_protocol.wire import encode_json
from bobbin_telemetry.requests import body_send

log = structlog.get_logger()

TURN_ID_HEADER = b"chatkit-turn-id"

_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx: pass each event on at once
]


class TurnStream:
    """Sends a turn's events until the turn ends or the client leaves."""

    def __init__(self, reader: TurnReader, settings: Settings) -> None:
        """Take over a reader: it is left when the response ends."""
        self._reader = reader
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        gone = asyncio.create_task(call_when_gone(receive, self._reader.stop))
        try:
            await start(send, self._reader.turn_id)
            async with Sender(body_send(scope, send), self._settings.send_timeout_s) as sender:
                await _send_all(self._reader, sender)
        except TimeoutError:
            log.info("reader left behind", turn_id=self._reader.turn_id)
        finally:
            self._reader.leave()
            gone.cancel()


class LaterStream:
    """The same for a turn that cannot begin yet: if that takes long, keep-alives go out until it does.

    Until then the response is not begun either: the request may turn out to be an earlier one sent again, and
    the turn another one.
    """

    def __init__(
        self, turn_id: str, begin: Callable[[], Coroutine[Any, Any, TurnReader]], settings: Settings
    ) -> None:
        """Prepare a response.

        Args:
            turn_id: Of the turn that is to begin.
            begin: Waits until it has begun; cancelled when the client leaves.
            settings: The gateway's.
        """
        self._turn_id = turn_id
        self._begin = begin
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        beginning = asyncio.create_task(self._begin(), name=f"{self._turn_id} begins")
        leave = _Leaving(beginning)
        gone = asyncio.create_task(call_when_gone(receive, leave))
        try:
            await start(send, await self._likely_turn_id(beginning))
            async with Sender(body_send(scope, send), self._settings.send_timeout_s) as sender:
                await self._serve(beginning, leave, sender)
        except TimeoutError:
            log.info("reader left behind", turn_id=self._turn_id)
        finally:
            await _settle(beginning)
            gone.cancel()

    async def _serve(self, beginning: asyncio.Task[TurnReader], leave: _Leaving, sender: Sender) -> None:
        while not beginning.done():
            await sender.send(PING)
            await asyncio.wait([beginning], timeout=self._settings.keepalive_s)
        if beginning.cancelled():
            return
        try:
            reader = beginning.result()
        except (StoreRefused, StoreUnavailable, Draining) as error:
            await sender.send(encode_event(encode_json(refusal_event(error))))
            await sender.end()
        else:
            await _send_all(leave.taking(reader), sender)

    async def _likely_turn_id(self, beginning: asyncio.Task[TurnReader]) -> str | None:
        """The turn's id, as far as it is known before the first keep-alive is due."""
        await asyncio.wait([beginning], timeout=self._settings.keepalive_s)
        if not beginning.done():
            return self._turn_id
        if beginning.cancelled() or beginning.exception() is not None:
            return None
        return beginning.result().turn_id


class _Leaving:
    """What to do when the client leaves: not begin, or read no more."""

    def __init__(self, beginning: asyncio.Task[TurnReader]) -> None:
        self._beginning = beginning
        self._reader: TurnReader | None = None
        self._gone = False

    def __call__(self) -> None:
        self._gone = True
        self._beginning.cancel()
        if self._reader is not None:
            self._reader.stop()

    def taking(self, reader: TurnReader) -> TurnReader:
        """What has begun; it is not read if the client has left by now."""
        self._reader = reader
        if self._gone:
            reader.stop()
        return reader


async def _settle(beginning: asyncio.Task[TurnReader]) -> None:
    """Give back the reader that a beginning has brought about, whether anyone wants it or not."""
    beginning.cancel()
    await asyncio.wait([beginning])
    if not beginning.cancelled() and beginning.exception() is None:
        beginning.result().leave()


class ErrorStream:
    """A good stream that holds nothing but an error: chatkit.js would re-send the request on an HTTP 5xx."""

    def __init__(self, error: ErrorEvent) -> None:
        self._body = encode_event(encode_json(error))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        del scope, receive
        await start(send, None)
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


async def start(send: Send, turn_id: str | None) -> None:
    """Begin a stream of events."""
    turn = [] if turn_id is None else [(TURN_ID_HEADER, turn_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *turn]})


async def call_when_gone(receive: Receive, callback: Callable[[], object]) -> None:
    """Wait for the client to leave."""
    while (await receive())["type"] != "http.disconnect":
        pass
    callback()


class Sender:
    """Sends the pieces of a stream within a block, which a TimeoutError ends if the client does not read.

    One timer serves the whole stream: to make one for each piece costs as much as to send it.
    """

    __slots__ = ("_is_sending", "_send", "_time_limit_s", "_timeout", "_watchdog")

    def __init__(self, send: Send, time_limit_s: float) -> None:
        self._send = send
        self._time_limit_s = time_limit_s
        self._timeout = asyncio.timeout(None)
        self._watchdog = Watchdog(time_limit_s, self._look)
        self._is_sending = False

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._watchdog.cancel()
        return await self._timeout.__aexit__(kind, error, trace)

    async def send(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece."""
        self._watchdog.renew(self._time_limit_s)
        self._is_sending = True
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._is_sending = False

    async def end(self) -> None:
        """End the stream."""
        await self.send(b"", more=False)

    def _look(self) -> None:
        if self._is_sending:
            self._timeout.reschedule(asyncio.get_running_loop().time())


async def _send_all(reader: TurnReader, sender: Sender) -> None:
    try:
        while (frames := await reader.read()) is not None:
            await sender.send(frames or PING)
            del frames  # not to be kept while the turn is silent
    except (StoreRefused, StoreUnavailable, Draining) as error:
        log.info("reader lost its turn", turn_id=reader.turn_id, reason=str(error))
        reader.stop()  # without a farewell: the turn goes on
    if reader.farewell:
        await sender.send(reader.farewell)
    await sender.end()
