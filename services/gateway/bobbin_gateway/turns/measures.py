"""What the turns of a process have done and how they stand, for Prometheus.

A turn is looked at when it begins, when it ends, and once a second: an event costs nothing.
"""

from __future__ import annotations

from time import monotonic

import structlog

from bobbin_gateway import metrics
from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.usage import usage_of

log = structlog.get_logger()


def turn_began(running: RunningTurn) -> None:
    """A turn runs from now on; what the journal had of it was said elsewhere."""
    running.counted = running.log.safe
    metrics.TURNS_STARTED.inc()


def turn_ended(running: RunningTurn, ending: Outcome, *, stored: bool) -> None:
    """A turn runs here no longer. No figure is worth the other turns of the process: this never raises."""
    try:
        _count_end(running, ending, stored=stored)
    except Exception:
        log.exception("turn not counted", turn_id=running.turn_id)


def _count_end(running: RunningTurn, ending: Outcome, *, stored: bool) -> None:
    count_events(running)
    if running.asked_at is not None:
        metrics.TURN_SECONDS.observe(monotonic() - running.asked_at)
    if running.lost:
        metrics.TURNS_ENDED.labels("handed_over").inc()
        return
    metrics.TURNS_ENDED.labels(ending.state if stored else "unsaved").inc()
    if ending.reason:
        metrics.TURNS_FAILED.labels(ending.reason).inc()
    if usage := usage_of(running.turn):
        metrics.TOKENS.labels("input").inc(usage.input_tokens)
        metrics.TOKENS.labels("output").inc(usage.output_tokens)


def turn_answers(running: RunningTurn) -> None:
    """The agent's first event has come."""
    running.answers = True
    if running.asked_at is not None:
        metrics.FIRST_TOKEN_SECONDS.observe(monotonic() - running.asked_at)


def count_events(running: RunningTurn) -> None:
    """Count what the turn has said since it was counted last."""
    count = len(running.log.frames)
    metrics.EVENTS.inc(count - running.counted)
    running.counted = count
