"""``POST /chatkit``: the one endpoint of the ChatKit protocol."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import cast

from litestar import post
from litestar.exceptions import ClientException, HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, HTTPReceiveMessage

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.gateway import Gateway, gateway_of
from bobbin_gateway.http.answers import answer
from bobbin_gateway.http.event_stream import ErrorStream, LaterStream, TurnStream
from bobbin_gateway.http.files import base_url_of
from bobbin_gateway.http.turn_inputs import asked_of_turn
from bobbin_gateway.store import StoreRefused
from bobbin_gateway.turns.beginning import NotYet
from bobbin_gateway.turns.outcome import refusal_event
from bobbin_gateway.turns.request import TurnRequest
from bobbin_gateway.turns.source import TurnReader
from bobbin_protocol.events import ErrorEvent
from bobbin_protocol.ids import new_id
from bobbin_protocol.requests import InvalidRequest, StreamingReq, decode_request


@post("/chatkit", status_code=200)
async def chatkit(request: HttpRequest) -> ASGIApp:
    """Answer any ChatKit request: with a stream of events, or with one JSON document."""
    _check_media_type(request)
    gateway = gateway_of(request)
    owner_id = await gateway.authenticator.owner_of(request)
    body = await _body(request, gateway.settings.max_body_bytes)
    decoded = decode_request(body)
    if isinstance(decoded, StreamingReq):
        return await _stream(gateway, owner_id, decoded, body, request)
    document = await answer(
        gateway, owner_id, decoded, locale=_locale(request), base_url=base_url_of(request)
    )
    return ASGIResponse(body=document, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _stream(
    gateway: Gateway, owner_id: str, decoded: StreamingReq, body: bytes, request: HttpRequest
) -> ASGIApp:
    asked = asked_of_turn(decoded, gateway.settings)
    if asked.action is not None and gateway.abilities.acting is None:
        if _is_strict(request):
            raise InvalidRequest("This server handles no actions", "type")
        return ErrorStream(ErrorEvent(message="This server handles no actions."))
    wanted = TurnRequest(
        turn_id=new_id("turn"),
        owner_id=owner_id,
        thread_id=asked.thread_id,
        input=asked.input,
        action=asked.action,
        locale=_locale(request),
        fingerprint=sha256(body).digest(),
        idempotency_key=_idempotency_key(request),
        resumable=is_resumable(request),
    )
    try:
        return TurnStream(await _begin(gateway, wanted), gateway.settings)
    except NotYet:
        if _is_strict(request):
            return TurnStream(await _begin_later(gateway, wanted), gateway.settings)
        return LaterStream(wanted.turn_id, partial(_begin_later, gateway, wanted), gateway.settings)
    except StoreRefused as refused:
        if _is_strict(request) or refused.problem.code == "key_reused":
            raise
        return ErrorStream(refusal_event(refused))


async def _begin(gateway: Gateway, wanted: TurnRequest) -> TurnReader:
    source = await gateway.beginnings.begin(wanted)
    return gateway.engine.readers.reader(wanted.owner_id, source, position=0, resumable=wanted.resumable)


async def _begin_later(gateway: Gateway, wanted: TurnRequest) -> TurnReader:
    source = await gateway.beginnings.begin_later(wanted)
    return gateway.engine.readers.reader(wanted.owner_id, source, position=0, resumable=wanted.resumable)


def _check_media_type(request: HttpRequest) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise HTTPException(status_code=415, detail=f"Send JSON, not {media_type}")


async def _body(request: HttpRequest, limit: int) -> bytes:
    """The request's body.

    One that is too large is read to its end all the same, within reason: a server that answers and hangs up
    in the middle of a request takes its answer with it (RFC 9112, section 9.6).
    """
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= limit + _MOST_DISCARDED:
        message = cast("HTTPReceiveMessage", await request.receive())
        if message["type"] == "http.disconnect":
            raise ClientException("The request was cut off")
        size += len(message["body"])
        if size <= limit:
            chunks.append(message["body"])
        more = message["more_body"]
    if size > limit:
        raise HTTPException(status_code=413, detail=f"The body is larger than {limit} bytes")
    return b"".join(chunks)


def _locale(request: HttpRequest) -> str | None:
    return request.headers.get("accept-language")


def is_resumable(request: HttpRequest) -> bool:
    """Whether the client asks for numbered events and may come back for the rest."""
    return request.headers.get("chatkit-resumable", "").strip() == "1"


def _idempotency_key(request: HttpRequest) -> str | None:
    """The key of a request that may be sent again (draft-ietf-httpapi-idempotency-key-header)."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequest(f"Between 1 and {_LONGEST_KEY} characters, please", "Idempotency-Key")
    return key


def _is_strict(request: HttpRequest) -> bool:
    """RFC 7240, section 4.4: the caller wants failures as HTTP errors."""
    return "handling=strict" in request.headers.get("prefer", "").replace(" ", "").lower()


_LONGEST_KEY = 255
_MOST_DISCARDED = 64 * 1024 * 1024

_MEDIA_TYPES = frozenset({"", "application/json", "text/plain", "application/x-www-form-urlencoded"})
"""What JSON arrives as: the last two from `curl -d` and from pages that spare themselves a preflight."""
