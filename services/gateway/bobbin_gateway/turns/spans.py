"""A turn in traces, and its end in the log."""

from __future__ import annotations

import structlog

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.running import RunningTurn
from bobbin_telemetry import tracing

log = structlog.get_logger()


def turn_span(turn: Turn, *, taken_over: bool) -> tracing.Span:
    """Of a turn as it runs here: below the request that began it, which it may outlive, unless that died."""
    attributes = {
        "bobbin.turn.id": turn.id,
        "bobbin.turn.taken_over": taken_over,
        "gen_ai.conversation.id": turn.thread.id,
    }
    return tracing.span("turn", attributes, root=taken_over)


def tell_ending(running: RunningTurn, ending: Outcome) -> None:
    """Say how a turn has ended; what anyone may have written stays in its record."""
    turn, span = running.turn, running.span
    span.set({"bobbin.turn.state": ending.state, "bobbin.turn.events": len(running.log.frames)})
    logged = {"reason": ending.reason, **ending.logged}
    if ending.unexpected is not None:
        log.error("turn failed", turn_id=turn.id, **logged, exc_info=ending.unexpected)
        span.fail(type(ending.unexpected).__name__)
    elif ending.state == "failed":
        log.warning("turn failed", turn_id=turn.id, **logged)
        span.fail("failed")
