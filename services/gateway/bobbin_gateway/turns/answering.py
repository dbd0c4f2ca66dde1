"""Lets an agent answer: takes in its events within their limits, and ends it in good time, willing or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import Any, TypeAlias, cast

import structlog

from bobbin_gateway.settings import Settings
from bobbin_gateway.turns.journal import Journal
from bobbin_gateway.turns.measures import turn_answers
from bobbin_gateway.turns.outcome import (
    COMPLETED,
    DESERTED,
    SILENT,
    TOO_LONG,
    Outcome,
    outcome_of,
)
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.watchdog import Watchdog
from bobbin_protocol.events import ThreadStreamEvent

log = structlog.get_logger()

Answering: TypeAlias = Callable[[], AsyncIterator[ThreadStreamEvent]]
"""Begins an agent's answer."""

_PATIENCE_S = 5.0
"""How long an agent that was told to stop may still tidy up. It is anyone's code, and may not listen."""


async def answer(answering: Answering, running: RunningTurn, journal: Journal, settings: Settings) -> Outcome:
    """Take in what the agent says until it is done, fails, breaks a limit, or someone stops the turn."""
    silence = Watchdog(settings.first_token_timeout_s, partial(running.stop, SILENT))
    end = asyncio.get_running_loop().call_later(settings.turn_timeout_s, running.stop, TOO_LONG)
    listening = asyncio.create_task(_listen(answering, running, journal, silence, settings))
    try:
        await asyncio.wait([listening, running.stopped], return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await asyncio.wait([listening], timeout=_PATIENCE_S)
    finally:
        silence.cancel()
        end.cancel()
        listening.cancel()
    return _outcome(listening, running)


async def _listen(
    answering: Answering,
    running: RunningTurn,
    journal: Journal,
    silence: Watchdog,
    settings: Settings,
) -> None:
    events = answering()
    async with _closing(events):
        async for event in events:
            if running.stopped.done():
                return
            running.emit(event)
            if not running.answers:
                turn_answers(running)
                running.span.event("first event")
            if not journal.has_room:
                silence.renew(settings.turn_timeout_s)  # not the agent's silence
                await journal.room()
            silence.renew(settings.silence_timeout_s)


def _closing(events: AsyncIterator[ThreadStreamEvent]) -> AbstractAsyncContextManager[Any]:
    """Closes an agent's generator, and with it the agent's connections, as soon as the turn ends."""
    if isinstance(events, AsyncGenerator):
        return aclosing(cast("AsyncGenerator[ThreadStreamEvent]", events))
    return nullcontext()


def _outcome(listening: asyncio.Task[None], running: RunningTurn) -> Outcome:
    if not listening.done():
        log.error("agent does not stop", turn_id=running.turn.id)
        return running.stopped.result()
    error = None if listening.cancelled() else listening.exception()
    if running.stopped.done():
        return running.stopped.result()
    if listening.cancelled():
        return DESERTED
    if error is None:
        return COMPLETED
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return outcome_of(error)  # whatever it is (panics in extensions are no `Exception`): it ends one turn
