"""The HTTP side: a bare ASGI application, because a test's model must be cheap and able to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from bobbin_gateway.demo_model import reply
from bobbin_gateway.demo_model.model import DIALECTS, Model
from bobbin_gateway.demo_model.prompt import decode_request
from bobbin_gateway.demo_model.received import Outcome, ReceivedRequests
from bobbin_gateway.demo_model.reply import Ending, Reply

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ConnectionCut(Exception):
    """Raised to make the server drop the connection in the middle of a body, as a script asked."""


class App:
    """Serves a Model; keeps the requests in `received` if there is one."""

    def __init__(self, model: Model, received: ReceivedRequests | None = None) -> None:
        self._model = model
        self._received = received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        match scope["method"], scope["path"]:
            case "POST", path if path in DIALECTS:
                await self._answer(path, scope, body, receive, send)
            case "GET", "/v1/models":
                await _send_whole(_models(self._model.names()), send)
            case "GET" | "DELETE" as method, "/requests" if self._received is not None:
                await _send_whole(_requests(self._received, method, scope["query_string"].decode()), send)
            case method, path:
                await _send_whole(reply.error(404, f"Unknown request: {method} {path}", "unknown_url"), send)

    async def _answer(self, path: str, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        try:
            request = decode_request(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            await _send_whole(reply.error(400, f"Bad request body: {error}"), send)
            return
        received = None
        if self._received is not None:
            received = self._received.add(path, _header(scope, b"authorization"), body)
        outcome = await _send_reply(self._model.reply(path, request, body), receive, send)
        if received is not None:
            received.outcome = outcome
        if outcome == "cut":
            raise ConnectionCut


async def _send_reply(answer: Reply, receive: Receive, send: Send) -> Outcome:
    if answer.is_immediate:
        await _send_whole(answer, send)
        return "complete"
    sending = asyncio.ensure_future(_send_slowly(answer, send))
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return sending.result() if sending.done() else "disconnected"
    finally:
        sending.cancel()
        leaving.cancel()


async def _send_slowly(answer: Reply, send: Send) -> Outcome:
    await asyncio.sleep(answer.head_s)
    await send(_start(answer))
    for wait, body in answer.writes:
        if wait:
            await asyncio.sleep(wait)
        await send({"type": "http.response.body", "body": body, "more_body": True})
    match answer.ending:
        case Ending.COMPLETE:
            await send({"type": "http.response.body", "body": b""})
        case Ending.CUT:
            return "cut"
        case Ending.STALL:
            await asyncio.Event().wait()
    return "complete"


async def _send_whole(answer: Reply, send: Send) -> None:
    await send(_start(answer))
    await send({"type": "http.response.body", "body": answer.writes[0][1]})


def _start(answer: Reply) -> dict[str, Any]:
    headers = [(b"content-type", answer.content_type.encode())]
    if answer.retry_after is not None:
        headers.append((b"retry-after", f"{answer.retry_after:g}".encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _models(names: list[str]) -> Reply:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "bobbin"} for name in names]
    return Reply(writes=[(0, msgspec.json.encode({"object": "list", "data": data}))])


def _requests(received: ReceivedRequests, method: str, query: str) -> Reply:
    if method == "DELETE":
        received.clear()
    try:
        listing = received.listing(query)
    except ValueError:
        return reply.error(400, "since: not a number")
    return Reply(writes=[(0, msgspec.json.encode(listing))])
