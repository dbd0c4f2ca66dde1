"""``/chatkit/events`` and ``/chatkit/threads/{thread_id}/events``: live feeds, made for EventSource.

Not part of ChatKit. Each message is a `bobbin_protocol.feed.FeedMessage`; its id says how far the reader is
in all that runs, so that it can come back to any gateway.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from litestar import get
from litestar.types import ASGIApp, Receive, Scope, Send

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.gateway import Gateway, gateway_of
from bobbin_gateway.http.event_stream import Sender, call_when_gone, start
from bobbin_gateway.http.paths import checked_id
from bobbin_gateway.store import StoreUnavailable
from bobbin_gateway.turns.feed import Cursor, Feed
from bobbin_protocol.sse import PING
from bobbin_telemetry.requests import body_send

log = structlog.get_logger()


@get("/chatkit/events")
async def owner_events(request: HttpRequest) -> ASGIApp:
    """Tell what happens in the caller's threads, from ``Last-Event-ID`` or ``?after=`` on, else from now."""
    gateway = gateway_of(request)
    owner_id = await gateway.authenticator.owner_of(request)
    return await _stream(gateway, owner_id, None, request)


@get("/chatkit/threads/{thread_id:str}/events")
async def thread_events(request: HttpRequest, thread_id: str) -> ASGIApp:
    """The same for one thread. 404 if there is no such thread."""
    gateway = gateway_of(request)
    owner_id = await gateway.authenticator.owner_of(request)
    with suppress(StoreUnavailable):  # the feed waits for the store
        await gateway.store.list_items(owner_id, checked_id(thread_id), 1, "desc", None)
    return await _stream(gateway, owner_id, thread_id, request)


async def _stream(gateway: Gateway, owner_id: str, thread_id: str | None, request: HttpRequest) -> FeedStream:
    text = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    feed = Feed(gateway.engine, gateway.store, owner_id, thread_id, Cursor.parse(text))
    with suppress(StoreUnavailable):
        await feed.open()
    return FeedStream(gateway, feed)


class FeedStream:
    """Sends a feed until the client leaves, or the process is about to stop."""

    def __init__(self, gateway: Gateway, feed: Feed) -> None:
        self._gateway = gateway
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        settings, send_body = self._gateway.settings, body_send(scope, send)

        async def feed() -> None:
            try:
                async with Sender(send_body, settings.send_timeout_s) as sender:
                    await self._feed.run(lambda block: sender.send(block or PING), settings.keepalive_s)
            except TimeoutError:
                log.info("reader of a feed left behind")

        await start(send, None)
        feeding = asyncio.create_task(feed())
        gone = asyncio.create_task(call_when_gone(receive, feeding.cancel))
        stopped = asyncio.create_task(self._gateway.engine.stopped.wait())
        try:
            await asyncio.wait([feeding, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (feeding, gone, stopped):
                task.cancel()
            await asyncio.wait([feeding])
        if not feeding.cancelled():
            feeding.result()
        with suppress(TimeoutError):
            async with Sender(send_body, settings.send_timeout_s) as sender:
                await sender.end()
