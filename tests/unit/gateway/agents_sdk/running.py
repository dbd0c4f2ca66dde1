"""A run of a small SDK agent, and what a client hears of it."""

from __future__ import annotations

from typing import Any

from agents import Agent, RunConfig

from bobbin_gateway.agent import AgentError, Turn
from bobbin_gateway.agents_sdk import AgentsSDKAgent, ChatContext
from bobbin_protocol.items import WorkflowItem
from bobbin_protocol.tasks import CustomTask
from tests.unit.gateway.openai_agent.samples import Heard, turn


async def hear(agent: AgentsSDKAgent, turn: Turn) -> Heard:
    """All that the agent says to a turn."""
    heard = Heard()
    try:
        async for event in agent.respond(turn):
            heard.events.append(event)
    except AgentError as failure:
        heard.failure = failure
    return heard


def adapted(config: RunConfig, *, options: dict[str, Any] | None = None, **fields: Any) -> AgentsSDKAgent:
    """An agent with these fields, behind the adapter with these options."""
    return AgentsSDKAgent(
        Agent[ChatContext](name="Helper", **{"model": "demo", **fields}), run_config=config, **(options or {})
    )


async def run(config: RunConfig, model: str, **fields: Any) -> Heard:
    """What such an agent says to a greeting."""
    return await hear(adapted(config, **fields), turn(model=model))


def steps_of(heard: Heard) -> list[tuple[str | None, str]]:
    """Title and state of each task that is no thought."""
    return [
        (task.title, task.status_indicator)
        for item in heard.items
        if isinstance(item, WorkflowItem)
        for task in item.workflow.tasks
        if isinstance(task, CustomTask)
    ]
