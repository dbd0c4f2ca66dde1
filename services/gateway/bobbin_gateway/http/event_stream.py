"""A turn's events as an HTTP response.

The response is an ASGI application of its own: it holds one follower and no more, and it learns from
``receive`` that the client is gone, also while the turn is silent.
"""

from __future__ import annotations

import asyncio

import structlog
from litestar.types import Receive, Scope, Send

from bobbin_gateway.settings import Settings
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.log import Follower
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import ErrorEvent
from bobbin_protocol.sse import PING, encode_event
from bobbin_protocol.wire import encode_json

log = structlog.get_logger()

TURN_ID_HEADER = b"chatkit-turn-id"

_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx: pass each event on at once
]


class TurnStream:
    """Sends a turn's events, from the first, until the turn ends or the client leaves."""

    def __init__(self, engine: TurnEngine, running: RunningTurn, settings: Settings) -> None:
        self._engine = engine
        self._running = running
        self._send_timeout_s = settings.send_timeout_s
        # From now on the turn has a reader, also before the first byte.
        self._follower = running.follow(settings.keepalive_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        del scope
        gone = asyncio.create_task(_disconnect(receive, self._follower))
        try:
            await _start(send, [*_HEADERS, (TURN_ID_HEADER, self._running.turn.id.encode())])
            while (frames := await self._follower.read()) is not None:
                async with asyncio.timeout(self._send_timeout_s):
                    await send({"type": "http.response.body", "body": frames or PING, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("reader left behind", turn_id=self._running.turn.id)
        finally:
            self._engine.leave(self._running, self._follower)
            gone.cancel()


class ErrorStream:
    """A good stream that holds nothing but an error: chatkit.js would re-send the request on an HTTP 5xx."""

    def __init__(self, error: ErrorEvent) -> None:
        self._body = encode_event(encode_json(error))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        del scope, receive
        await _start(send, _HEADERS)
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


async def _start(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _disconnect(receive: Receive, follower: Follower) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.leave()
