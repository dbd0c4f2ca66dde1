"""What can go wrong with a run, as the user hears it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from agents import RunConfig
from agents.exceptions import (
    MaxTurnsExceeded,
    MCPToolCancellationError,
    ModelBehaviorError,
    ModelTimeoutError,
    ToolTimeoutError,
    UserError,
)

from bobbin_gateway.agent import AgentError
from bobbin_gateway.agents_sdk import failures
from tests.sdk import calling, constant_tool
from tests.unit.gateway.agents_sdk.running import adapted, hear, run
from tests.unit.gateway.openai_agent.samples import Heard, turn


def told(heard: Heard) -> tuple[str, bool]:
    assert heard.failure is not None
    return heard.failure.message, heard.failure.allow_retry


@pytest.mark.parametrize(
    ("script", "words", "allow_retry"),
    [
        ("status=429", "busy", True),
        ("status=401", "refuses this server's key", False),
        ("status=404", "not available", False),
        ("error_after=3", "has a problem", True),
        ("error_after=3&error_shape=flat", "has a problem", True),
        ("error_after=3&code=insufficient_quota", "no credit left", False),
        ("cut_after=3", "can't be reached", True),
        ("empty=1", "can't be read", True),
        ("incomplete=max_output_tokens&text=", "length limit", True),
    ],
)
async def test_a_failing_model_is_told_as_by_the_built_in_agent(
    config: RunConfig, script: str, words: str, allow_retry: bool
) -> None:
    message, may_retry = told(await run(config, f"script:{script}"))
    assert words in message
    assert may_retry is allow_retry


async def test_a_model_that_never_comes_to_an_end_is_stopped(config: RunConfig) -> None:
    agent = adapted(config, tools=[constant_tool("look")], options={"max_turns": 2})
    heard = await hear(agent, turn(model=calling(*[{"look": {}}] * 5)))
    assert told(heard) == ("The assistant needed too many steps and was stopped. Please try again.", True)


async def test_a_tool_that_does_not_exist_is_the_models_fault(config: RunConfig) -> None:
    message, allow_retry = told(await run(config, calling({"novelty": {}})))
    assert "can't be read" in message
    assert allow_retry


@pytest.mark.parametrize(
    "error",
    [
        MaxTurnsExceeded("x"),
        ModelBehaviorError("x"),
        ModelTimeoutError(1.0),
        ToolTimeoutError("look", 1.0),
        MCPToolCancellationError("x"),
    ],
)
def test_what_may_go_well_at_another_try_allows_one(error: Any) -> None:
    meaning = failures.from_exception(error)
    assert meaning is not None
    assert meaning.allow_retry
    assert type(error).__name__ in meaning.detail


def test_what_was_told_already_stays_as_it_is() -> None:
    error = AgentError("Not today.", allow_retry=False)
    assert failures.from_exception(error) is error


@pytest.mark.parametrize("error", [UserError("bad set-up"), KeyError("x"), openai.OpenAIError("x")])
def test_a_bug_has_no_meaning_for_the_user(error: Exception) -> None:
    meaning = failures.from_exception(error)
    assert (meaning is None) is not isinstance(error, openai.OpenAIError)
