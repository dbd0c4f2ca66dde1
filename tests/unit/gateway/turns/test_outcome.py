"""What the user is told when a turn does not begin, or does not end well."""

from __future__ import annotations

import pytest

from bobbin_gateway.agent import AgentError
from bobbin_gateway.store import StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import outcome_of, refusal_event
from bobbin_protocol.problem import Problem, ProblemCode


def refused(status: int, code: ProblemCode) -> StoreRefused:
    return StoreRefused(Problem(title="No", status=status, code=code, detail="Because.", message="Because."))


def test_an_agents_own_words_reach_the_user_and_its_detail_the_record_and_the_log() -> None:
    outcome = outcome_of(AgentError("Come back later.", allow_retry=True, detail="quota of key 7"))
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert (outcome.error.message, outcome.error.allow_retry) == ("Come back later.", True)
    assert outcome.detail == "quota of key 7"
    assert outcome.logged == {"reason": "agent", "detail": "quota of key 7"}
    assert outcome.unexpected is None


def test_an_agent_may_have_other_words_for_the_log() -> None:
    error = AgentError("No.", allow_retry=True, detail="the user said: my PIN is 7", facts={"status": 400})
    outcome = outcome_of(error)
    assert outcome.detail == "the user said: my PIN is 7"
    assert outcome.logged == {"reason": "agent", "status": 400}


def test_a_bug_is_shown_in_the_clients_own_words_only() -> None:
    bug = KeyError("internals")
    outcome = outcome_of(bug)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == ("stream.error", None)
    assert outcome.unexpected is bug
    assert outcome.logged == {"error": "KeyError"}, "its text may hold what a user wrote"


@pytest.mark.parametrize(
    ("error", "allow_retry"),
    [
        (refused(404, "not_found"), False),
        (refused(409, "thread_locked"), False),
        (refused(429, "too_many_requests"), True),
        (StoreUnavailable("connection refused at 10.0.0.7"), True),
    ],
)
def test_a_turn_that_cannot_begin_says_why(
    error: StoreRefused | StoreUnavailable, *, allow_retry: bool
) -> None:
    event = refusal_event(error)
    assert event.allow_retry is allow_retry
    assert event.message
    assert "10.0.0.7" not in event.message
