"""What tests of the Agents SDK adapter run: models behind HTTP, and an agent for a gateway process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from agents import (
    Agent,
    FunctionTool,
    OpenAIProvider,
    RunConfig,
    RunContextWrapper,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from bobbin_gateway.agents_sdk import AgentsSDKAgent, ChatContext
from bobbin_protocol.widgets.content import Text
from bobbin_protocol.widgets.layout import Card

set_tracing_disabled(disabled=True)  # else the SDK reports each run to OpenAI

CALLED = ("add", "multiply", "get_weather", "second_tool", "get_temperature", "get_capital", "weather")
"""The tools that are called in the recordings."""


@asynccontextmanager
async def models_at(base_url: str) -> AsyncIterator[RunConfig]:
    """A run config whose models are those of a model server."""
    async with AsyncOpenAI(base_url=base_url, api_key="test", max_retries=0) as client:
        yield RunConfig(model_provider=OpenAIProvider(openai_client=client))


def calling(*rounds: Mapping[str, Mapping[str, Any]], **options: Any) -> str:
    """The model that calls these tools with these arguments, round by round, before it says its text."""
    calls = [[{"name": name, "arguments": given} for name, given in calls.items()] for calls in rounds]
    return f"script:{urlencode({'calls': json.dumps(calls), **options})}"


def constant_tool(name: str, result: str = "done") -> FunctionTool:
    """A tool that takes anything, and always gives the same."""

    async def invoke(context: Any, arguments: str) -> str:
        return result

    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": True}
    return FunctionTool(name, f"Calls {name}", schema, invoke, strict_json_schema=False)


@function_tool
async def get_weather(wrapper: RunContextWrapper[ChatContext], city: str) -> str:
    """Show the weather."""
    chat = wrapper.context
    await chat.progress(f"Looking out of the window in {city}", "bolt")
    await chat.widget(Card(children=[Text(value="Sunny")]), copy_text=f"{chat.owner_id} sees the sun")
    return "sunny"


@function_tool
async def wait_for_snow(wrapper: RunContextWrapper[ChatContext]) -> str:
    """Wait for ever."""
    await wrapper.context.progress("Waiting for the snow")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("nobody waits for the snow any more", flush=True)  # noqa: T201 (for the test that reads the log)
        raise
    return "never"


def for_gateway() -> AgentsSDKAgent:
    """The agent of a gateway process, with the model server of its environment."""
    config = RunConfig(model_provider=OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0)))
    agent = Agent[ChatContext](name="Weather", model="demo", tools=[get_weather, wait_for_snow])
    return AgentsSDKAgent(agent, run_config=config)
