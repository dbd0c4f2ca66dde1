"""How a turn ended: the one place that decides what the user sees, what is stored and what is logged."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bobbin_gateway.agent import AgentError
from bobbin_gateway.store import StoreRefused, StoreUnavailable
from bobbin_protocol.events import ErrorEvent
from bobbin_protocol.store.turns import EndState


class Outcome(Struct, frozen=True, kw_only=True):
    """The end of a turn."""

    state: EndState
    error: ErrorEvent | None = None
    """What the client is told."""
    detail: str | None = None
    """What the turn's record holds; never shown to the user, nor logged: anyone may have written it."""
    reason: str = ""
    """One of few words for it in the metrics and the log; empty if it is no failure."""
    logged: Mapping[str, str | int] = {}
    """What else the log may hold of it."""
    unexpected: BaseException | None = None
    """A bug, ours or the agent's: logged with its traceback."""


COMPLETED = Outcome(state="completed")
CANCELLED = Outcome(state="cancelled", detail="cancelled by the user")
SHUT_DOWN = Outcome(
    state="interrupted",
    error=ErrorEvent(message="The server is restarting. Please try again.", allow_retry=True),
    detail="the gateway stopped",
    reason="gateway_stopped",
)
TOO_LONG = Outcome(
    state="failed",
    error=ErrorEvent(message="The answer took too long and was stopped.", allow_retry=True),
    detail="turn timeout",
    reason="turn_timeout",
)
SILENT = Outcome(
    state="failed",
    error=ErrorEvent(message="The assistant stopped responding. Please try again.", allow_retry=True),
    detail="no event from the agent in time",
    reason="silent",
)
TOO_LARGE = Outcome(
    state="failed",
    error=ErrorEvent(message="The answer grew too large and was stopped.", allow_retry=True),
    detail="output limit reached",
    reason="too_large",
)
DESERTED = Outcome(
    state="failed",
    error=ErrorEvent(code="stream.error", allow_retry=True),
    detail="the agent ended by a cancellation of its own",
    reason="agent_cancelled",
)
LOST = Outcome(
    state="interrupted",
    error=ErrorEvent(message="The connection to the answer was lost. Please try again.", allow_retry=True),
    detail="another gateway took the turn over",
)
ORPHANED = Outcome(
    state="interrupted",
    error=ErrorEvent(message="The answer was interrupted. Please try again.", allow_retry=True),
    detail="the gateway that ran the turn is gone",
    reason="gateway_died",
)
AWAY = Outcome(state="failed", detail="the store was away for too long", reason="store_away")
BROKEN = Outcome(state="failed", detail="a bug of the gateway", reason="bug")
UNSAVED = ErrorEvent(message="The answer could not be saved. Please try again.", allow_retry=True)


class OutputTooLarge(Exception):
    """The agent says more than a turn may hold (``MAX_OUTPUT_BYTES``)."""


def outcome_of(error: BaseException) -> Outcome:
    """What an agent's failure means."""
    if isinstance(error, OutputTooLarge):
        return TOO_LARGE
    if isinstance(error, AgentError):
        event = ErrorEvent(message=error.message, allow_retry=error.allow_retry)
        return Outcome(
            state="failed",
            error=event,
            detail=error.detail or error.message,
            reason=error.kind,
            logged=error.logged,
        )
    event = ErrorEvent(code="stream.error", allow_retry=True)
    detail = f"{type(error).__name__}: {error}"
    logged = {"error": type(error).__name__}
    return Outcome(state="failed", error=event, detail=detail, reason="bug", logged=logged, unexpected=error)


class Draining(Exception):
    """This process is about to stop and takes no new turns."""


def refusal_event(error: StoreRefused | StoreUnavailable | Draining) -> ErrorEvent:
    """The event for a turn that could not begin."""
    match error:
        case StoreRefused() if error.problem.code == "wrong_sender":
            return ErrorEvent(code="stream.error")  # as the reference answers it
        case StoreRefused():
            later = error.problem.status == _TOO_MANY or error.problem.code == "turn_running"
            return ErrorEvent(message=error.problem.message, allow_retry=later)
        case StoreUnavailable() | Draining():
            return ErrorEvent(message=UNAVAILABLE, allow_retry=True)


UNAVAILABLE = "Conversations cannot be reached right now. Please try again in a moment."
_TOO_MANY = 429
