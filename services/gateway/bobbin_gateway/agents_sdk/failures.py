"""What can go wrong with a run, and what the user is told of it."""

from __future__ import annotations

import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MCPToolCancellationError,
    ModelBehaviorError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    ToolTimeoutError,
)

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent import failures

TRIPWIRES = (InputGuardrailTripwireTriggered, OutputGuardrailTripwireTriggered)
"""What takes back all that the run has shown."""


def from_exception(error: Exception) -> AgentError | None:
    """What a run's exception means; None if it is a bug, of the agent or of its tools."""
    if isinstance(error, AgentError):
        return error
    if isinstance(error, openai.APIError) and not isinstance(
        error, openai.APIStatusError | openai.APIConnectionError
    ):
        return failures.from_stream(error.body or str(error))  # the package met it in the stream
    if isinstance(error, failures.TRANSPORT_ERRORS):
        return failures.from_exception(error)
    if isinstance(error, AgentsException):
        return _from_sdk(error)
    return None


def _from_sdk(error: AgentsException) -> AgentError | None:
    detail, facts = f"{type(error).__name__}: {error}", {"error": type(error).__name__}
    match error:
        case MaxTurnsExceeded():
            text = "The assistant needed too many steps and was stopped. Please try again."
        case ModelTimeoutError():
            text = "The model service did not answer in time. Please try again."
        case ToolTimeoutError() | MCPToolCancellationError():
            text = "A step of the assistant did not end in time. Please try again."
        case ModelBehaviorError():
            return failures.unreadable(detail)
        case ToolInputGuardrailTripwireTriggered() | ToolOutputGuardrailTripwireTriggered():
            text = "The assistant was about to do something that is not allowed here."
            return AgentError(text, allow_retry=False, detail=detail, facts=facts)
        case _:
            return None
    return AgentError(text, allow_retry=True, detail=detail, facts=facts)


def tripped(error: AgentsException) -> AgentError:
    """What the tripwire of an input or output guardrail means."""
    detail, facts = f"{type(error).__name__}: {error}", {"error": type(error).__name__}
    if isinstance(error, InputGuardrailTripwireTriggered):
        return AgentError(
            "This message can't be answered here.", allow_retry=False, detail=detail, facts=facts
        )
    text = "The answer was withheld because it broke the rules of this chat."
    return AgentError(text, allow_retry=True, detail=detail, facts=facts)


def needs_approval(names: list[str]) -> AgentError:
    """The run waits for an approval, which ChatKit has no place for."""
    return AgentError(
        "The assistant needs an approval that can't be given in this chat.",
        allow_retry=False,
        detail=f"calls that need an approval: {', '.join(names)}",
    )
