"""A call is shown as done when it is, while others go on."""

from __future__ import annotations

import asyncio

from agents import RunConfig, function_tool

from bobbin_gateway.agents_sdk import ToolHooks
from bobbin_protocol.events import ThreadItemUpdatedEvent
from bobbin_protocol.updates import WorkflowTaskUpdated
from tests.sdk import calling, constant_tool
from tests.unit.gateway.agents_sdk.running import adapted, steps_of
from tests.unit.gateway.openai_agent.samples import Heard, turn


async def test_a_quick_call_is_done_before_a_slow_one(config: RunConfig) -> None:
    quick_is_shown = asyncio.Event()

    @function_tool
    async def slow() -> str:
        await quick_is_shown.wait()
        return "slow"

    agent = adapted(config, tools=[slow, constant_tool("quick")], options={"hooks": ToolHooks()})
    heard = Heard()
    async with asyncio.timeout(20):
        async for event in agent.respond(turn(model=calling({"slow": {}, "quick": {}}, text="Done"))):
            heard.events.append(event)
            if isinstance(event, ThreadItemUpdatedEvent) and isinstance(event.update, WorkflowTaskUpdated):
                quick_is_shown.set()
    assert steps_of(heard) == [("Slow", "complete"), ("Quick", "complete")]
