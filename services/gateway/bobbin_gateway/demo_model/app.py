"""The HTTP side: a bare ASGI application, because a test's model must be cheap and able to misbehave."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

import msgspec

from bobbin_gateway.demo_model import reply
from bobbin_gateway.demo_model.background import BackgroundResponse, BackgroundResponses
from bobbin_gateway.demo_model.model import DIALECTS, Model
from bobbin_gateway.demo_model.prompt import decode_request
from bobbin_gateway.demo_model.received import Outcome, Received, ReceivedRequests
from bobbin_gateway.demo_model.reply import Ending, Reply
from bobbin_gateway.demo_model.transcription import BadForm, read_form, transcribed

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
        self._background = BackgroundResponses()
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        match scope["method"], scope["path"]:
            case "POST", path if path in DIALECTS:
                await self._answer(path, scope, body, receive, send)
            case method, path if found := _RESPONSE.fullmatch(path):
                await self._about(method, *found.groups(), scope=scope, receive=receive, send=send)
            case "POST", "/v1/audio/transcriptions":
                await self._transcribe(scope, body, send)
            case "GET", "/v1/models":
                await _send_whole(_models(self._model.names()), send)
            case "GET" | "DELETE" as method, "/requests" if self._received is not None:
                running = self._running + self._background.running
                query = scope["query_string"].decode()
                await _send_whole(_requests(self._received, method, query, running), send)
            case method, path:
                await _send_whole(reply.error(404, f"Unknown request: {method} {path}", "unknown_url"), send)

    async def _answer(self, path: str, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        try:
            request = decode_request(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            await _send_whole(reply.error(400, f"Bad request body: {error}"), send)
            return
        received = self._note(scope, body)
        answer = self._model.reply(path, request, body)
        if answer.background:
            response = self._background.start(answer)
            if received is not None:
                received.response_id = response.id
            if request.stream:
                outcome = await _unless_left(_follow(response, 0, send, head_s=answer.head_s), receive)
            else:
                outcome = await _send_whole(_json(response.state()), send)
        elif answer.is_immediate:
            outcome = await _send_whole(answer, send)
        else:
            self._running += 1
            try:
                outcome = await _unless_left(_send_slowly(answer, send), receive)
            finally:
                self._running -= 1
        _close(received, outcome)

    async def _transcribe(self, scope: Scope, body: bytes, send: Send) -> None:
        try:
            form = read_form(body, _header(scope, b"content-type"))
        except BadForm as error:
            await _send_whole(reply.error(400, f"Bad form: {error}"), send)
            return
        received = self._note(scope, msgspec.json.encode(form))
        _close(received, await _send_whole(transcribed(form), send))

    async def _about(
        self, method: str, response_id: str, action: str | None, *, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Requests about one background response."""
        received = self._note(scope, b"")
        options = parse_qs(scope["query_string"].decode())
        response = self._background.find(response_id)
        if response is not None and (method, action, options.get("stream")) == ("GET", None, ["true"]):
            after = options.get("starting_after", ["-1"])[-1]
            first = int(after) + 1 if after.lstrip("-").isdigit() else 0
            outcome = await _unless_left(_follow(response, first, send), receive)
        else:
            outcome = await _send_whole(self._told(method, response_id, action, response), send)
        _close(received, outcome)

    def _told(
        self, method: str, response_id: str, action: str | None, response: BackgroundResponse | None
    ) -> Reply:
        if response is None:
            return reply.error(404, f"Response with id '{response_id}' not found.", "response_not_found")
        match method, action:
            case "GET", None:
                return _json(response.state())
            case "DELETE", None:
                self._background.forget(response_id)
                return _json({"id": response_id, "object": "response", "deleted": True})
            case "POST", "/cancel":
                return _cancelled(response)
            case _:
                return reply.error(404, f"Unknown request: {method} {action or ''}", "unknown_url")

    def _note(self, scope: Scope, body: bytes) -> Received | None:
        if self._received is None:
            return None
        query = scope["query_string"].decode()
        path = f"{scope['path']}?{query}" if query else scope["path"]
        authorization, traceparent = _header(scope, b"authorization"), _header(scope, b"traceparent")
        return self._received.add(scope["method"], path, authorization, body, traceparent)


_RESPONSE = re.compile(r"/v1/responses/([^/]+)(/cancel)?")


def _close(received: Received | None, outcome: Outcome) -> None:
    if received is not None:
        received.outcome = outcome
    if outcome == "cut":
        raise ConnectionCut


def _cancelled(response: BackgroundResponse) -> Reply:
    """Stop it; once is enough, and what has ended otherwise cannot be cancelled: as OpenAI answers."""
    response.stop()
    state = response.state()
    if state["status"] != "cancelled":
        return reply.error(400, f"Cannot cancel a {state['status']} response.")
    return _json(state)


async def _unless_left(work: Coroutine[Any, Any, Outcome], receive: Receive) -> Outcome:
    """Do the work, unless the client leaves before it is done."""
    sending = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return sending.result() if sending.done() else "disconnected"
    finally:
        sending.cancel()
        leaving.cancel()


async def _follow(response: BackgroundResponse, first: int, send: Send, head_s: float = 0) -> Outcome:
    """Send a background response's events from a number on, as they come."""
    await asyncio.sleep(head_s)
    await send(_start(response.answer))
    left = response.answer.cut_after
    while events := await response.read(first):
        first += len(events)
        if left is not None:
            events, left = _first_deltas(events, left)
        await send({"type": "http.response.body", "body": b"".join(events), "more_body": True})
        if left is not None and left < 0:
            return "cut"
    await send({"type": "http.response.body", "body": b""})
    return "complete"


def _first_deltas(events: list[bytes], left: int) -> tuple[list[bytes], int]:
    """The events up to as many deltas as are left, and how many are left then; -1: there are too many."""
    for place, event in enumerate(events):
        if _DELTA.match(event):
            left -= 1
        if left < 0:
            return events[:place], left
    return events, left


_DELTA = re.compile(rb"event: response\.\w+\.delta\n")


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


async def _send_whole(answer: Reply, send: Send) -> Outcome:
    await send(_start(answer))
    await send({"type": "http.response.body", "body": answer.writes[0][1]})
    return "complete"


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
    return _json({"object": "list", "data": data})


def _requests(received: ReceivedRequests, method: str, query: str, running: int) -> Reply:
    if method == "DELETE":
        received.clear()
    try:
        listing = received.listing(query, running)
    except ValueError:
        return reply.error(400, "since: not a number")
    return _json(listing)


def _json(value: object) -> Reply:
    return Reply(writes=[(0, msgspec.json.encode(value))])
