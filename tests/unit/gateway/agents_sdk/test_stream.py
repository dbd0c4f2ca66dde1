"""A run of your own as a stream of events: guardrails, approvals, refusals, and a reader who leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunConfig,
    Runner,
    RunResultStreaming,
    function_tool,
    input_guardrail,
    output_guardrail,
)

from bobbin_gateway.agent import AgentError, Turn
from bobbin_gateway.agents_sdk import stream_events
from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemRemovedEvent, ThreadItemUpdatedEvent
from bobbin_protocol.fold import ItemFold
from tests.model import ModelServer
from tests.sdk import calling, constant_tool
from tests.unit.gateway.agents_sdk.running import run, steps_of
from tests.unit.gateway.openai_agent.samples import Heard, turn


def begin(config: RunConfig, model: str, said: str = "Hello", **fields: Any) -> RunResultStreaming:
    """A run without a context of ours."""
    return Runner.run_streamed(Agent(name="a", model=model, **fields), said, run_config=config)


async def hear(turn: Turn, result: RunResultStreaming, begun: asyncio.Event | None = None) -> Heard:
    """All that is said; `begun` is set as soon as some of it is shown."""
    heard = Heard()
    try:
        async for event in stream_events(turn, result):
            heard.events.append(event)
            if begun is not None and isinstance(event, ThreadItemUpdatedEvent):
                begun.set()
    except AgentError as failure:
        heard.failure = failure
    return heard


async def test_a_run_of_your_own_needs_no_context(config: RunConfig) -> None:
    mine = turn()
    result = begin(config, calling({"look": {}}, text="Done"), tools=[constant_tool("look")])
    heard = await hear(mine, result)
    assert steps_of(heard) == [("Look", "complete")]
    assert heard.texts == [["Done"]]
    assert result.final_output == "Done"
    assert mine.usage is not None
    assert mine.usage.output_tokens == result.context_wrapper.usage.output_tokens


async def test_a_refusal_is_the_answer(config: RunConfig) -> None:
    heard = await run(config, "script:refusal=1&text=I can't")
    assert heard.failure is None
    assert heard.texts == [["I can't"]]


async def test_an_answer_that_is_cut_short_is_kept_with_a_notice(config: RunConfig) -> None:
    heard = await run(config, "script:incomplete=max_output_tokens&text=So far")
    assert heard.failure is None
    assert heard.texts == [["So far"]]
    assert heard.kinds[-1] == "notice"


def refusing_message(begun: asyncio.Event) -> dict[str, Any]:
    """Trips as soon as the answer is under way."""

    @input_guardrail
    async def refuse_message(*arguments: Any) -> GuardrailFunctionOutput:
        await begun.wait()
        return GuardrailFunctionOutput(output_info="", tripwire_triggered=True)

    return {"input_guardrails": [refuse_message]}


def refusing_answer(begun: asyncio.Event) -> dict[str, Any]:
    @output_guardrail
    async def refuse_answer(*arguments: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info="", tripwire_triggered=True)

    return {"output_guardrails": [refuse_answer]}


@pytest.mark.parametrize(
    ("guardrail", "model", "allow_retry"),
    [
        (refusing_message, "script:deltas=200&delay_ms=15", False),
        (refusing_answer, calling({"look": {}}, text="Secret"), True),
    ],
)
async def test_what_a_guardrail_forbids_is_taken_back(
    config: RunConfig, guardrail: Callable[[asyncio.Event], dict[str, Any]], model: str, allow_retry: bool
) -> None:
    begun = asyncio.Event()
    result = begin(config, model, tools=[constant_tool("look")], **guardrail(begun))
    heard = await hear(turn(), result, begun)
    assert heard.failure is not None
    assert heard.failure.allow_retry is allow_retry
    assert any(isinstance(event, ThreadItemAddedEvent) for event in heard.events)
    assert isinstance(heard.events[-1], ThreadItemRemovedEvent)
    fold = ItemFold()
    for event in heard.events:
        fold.apply(event)
    assert fold.items() == []


async def test_a_call_that_needs_an_approval_is_told(config: RunConfig) -> None:
    @function_tool(needs_approval=True)
    async def pay() -> str:
        raise AssertionError("nobody has approved")

    heard = await hear(turn(), begin(config, calling({"pay": {}}), tools=[pay]))
    assert heard.failure is not None
    assert "approval" in heard.failure.message
    assert "pay" in heard.failure.detail


async def test_a_bug_in_a_tool_is_raised_as_it_is(config: RunConfig) -> None:
    @function_tool(failure_error_function=None)
    async def broken() -> str:
        raise KeyError("a bug")

    result = begin(config, calling({"broken": {}}), tools=[broken])
    with pytest.raises(Exception, match="a bug"):
        await hear(turn(), result)


async def test_a_tool_that_fails_is_told_to_the_model(config: RunConfig) -> None:
    @function_tool
    async def broken() -> str:
        raise KeyError("a bug")

    heard = await hear(turn(), begin(config, calling({"broken": {}}, text="Sorry"), tools=[broken]))
    assert heard.texts == [["Sorry"]]


async def test_a_run_stops_when_its_reader_leaves(config: RunConfig, model_server: ModelServer) -> None:
    word = uuid4().hex
    result = begin(config, "script:deltas=1000&delay_ms=20", said=word)
    async with aclosing(stream_events(turn(), result)) as events:
        async for event in events:
            if isinstance(event, ThreadItemAddedEvent):
                break
    assert result.run_loop_task is not None
    assert result.run_loop_task.done()
    async with asyncio.timeout(5):
        while model_server.received(word)[0]["outcome"] == "open":  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
    assert model_server.received(word)[0]["outcome"] == "disconnected"


async def test_tools_are_cancelled_with_the_turn(config: RunConfig) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    @function_tool
    async def wait() -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    reading = asyncio.create_task(hear(turn(), begin(config, calling({"wait": {}}), tools=[wait])))
    async with asyncio.timeout(20):
        await began.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert cancelled.is_set()
