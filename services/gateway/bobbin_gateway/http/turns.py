"""``/chatkit/turns/{turn_id}``: come back to a turn, or stop it. Not part of ChatKit, for those who know."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import get, post
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.gateway import Gateway, gateway_of
from bobbin_gateway.http.event_stream import TURN_ID_HEADER, LaterStream, TurnStream
from bobbin_gateway.http.paths import checked_id
from bobbin_gateway.metrics import RESUMES
from bobbin_gateway.store import StoreUnavailable
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.source import Source, TurnReader
from bobbin_protocol.requests import InvalidRequest
from bobbin_protocol.store.turns import TurnRecord, TurnState
from bobbin_protocol.wire import Wire, encode_json


class TurnSummary(Wire):
    """How a turn stands, as its owner sees it."""

    id: str
    thread_id: str
    state: TurnState


@get("/chatkit/turns/{turn_id:str}/events")
async def turn_events(request: HttpRequest, turn_id: str) -> ASGIApp:
    """Send the events of a turn behind ``Last-Event-ID`` or ``?after=``, and go on live.

    Errors: 404 for an unknown turn; 400 for an event that is not one of this turn, or that it has not
    reached. 204 when there is nothing left: an EventSource then stops asking.
    """
    gateway = gateway_of(request)
    owner_id = await gateway.authenticator.owner_of(request)
    checked_id(turn_id)
    after = _after(request, turn_id)
    try:
        source = await gateway.engine.readers.come_back(owner_id, turn_id, after)
    except StoreUnavailable:  # a browser would take an error for the end of the turn
        return LaterStream(
            turn_id, partial(_come_back_later, gateway, owner_id, turn_id, after), gateway.settings
        )
    position = source.position(after)
    if position is None or (source.log.ended and position >= len(source.log.frames)):
        source.leave()
        if position is None:
            raise InvalidRequest("The turn has had no such event yet", _AFTER)
        return ASGIResponse(status_code=204, headers={TURN_ID_HEADER.decode(): turn_id})
    return TurnStream(_reader(gateway, owner_id, source, position), gateway.settings)


def _reader(gateway: Gateway, owner_id: str, source: Source, position: int) -> TurnReader:
    RESUMES.labels("here" if isinstance(source, RunningTurn) else "elsewhere").inc()
    return gateway.engine.readers.reader(owner_id, source, position=position, resumable=True)


async def _come_back_later(gateway: Gateway, owner_id: str, turn_id: str, after: int) -> TurnReader:
    clock = asyncio.get_running_loop().time
    deadline = clock() + gateway.settings.begin_retry_s
    while True:
        try:
            source = await gateway.engine.readers.come_back(owner_id, turn_id, after)
        except StoreUnavailable:
            if clock() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)
        else:
            position = source.position(after)
            position = len(source.log.frames) if position is None else position
            return _reader(gateway, owner_id, source, position)


@post("/chatkit/turns/{turn_id:str}/cancel", status_code=200)
async def cancel_turn(request: HttpRequest, turn_id: str) -> ASGIResponse:
    """Stop a turn, wherever it runs, and keep what it has said; say how it stands then. Safe to repeat.

    202 if it has not come to its end within the time that a call to the store may take, or, where another
    gateway runs it, within the time of a lease.
    """
    gateway = gateway_of(request)
    owner_id = await gateway.authenticator.owner_of(request)
    record = await _cancel(gateway, owner_id, checked_id(turn_id))
    summary = TurnSummary(id=record.id, thread_id=record.thread_id, state=record.state)
    return ASGIResponse(
        body=encode_json(summary),
        status_code=202 if record.state == "running" else 200,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _cancel(gateway: Gateway, owner_id: str, turn_id: str) -> TurnRecord:
    if running := gateway.engine.turns.get(owner_id, turn_id):
        await gateway.engine.interrupt(running)
        return await gateway.store.get_turn(owner_id, turn_id)
    return await gateway.engine.interrupt_elsewhere(owner_id, turn_id)


def _after(request: HttpRequest, turn_id: str) -> int:
    """The number of the last event that the client has: a number, or an event's id."""
    text = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    of_turn, separator, number = text.rpartition(":")
    if (separator and of_turn != turn_id) or not (
        number.isascii() and number.isdigit() and len(number) <= _DIGITS
    ):
        raise InvalidRequest("This is no event of the turn", _AFTER)
    return int(number)


_PAUSE_S = 0.5
_AFTER = "Last-Event-ID"
_DIGITS = 15
