"""What a run's tools show stands where it was shown, and what they ask for ends the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from agents import RunConfig, RunContextWrapper, function_tool

from bobbin_gateway.agents_sdk import ChatContext
from bobbin_gateway.agents_sdk.output import RunOutput
from bobbin_protocol.events import ProgressUpdateEvent
from bobbin_protocol.items import ClientToolCallItem, WidgetItem, WorkflowItem
from bobbin_protocol.tasks import CustomSummary, CustomTask
from bobbin_protocol.widgets.content import Text
from bobbin_protocol.widgets.layout import Card
from bobbin_protocol.wire import encode_json
from tests.sdk import calling, constant_tool
from tests.unit.gateway.agents_sdk.running import run, steps_of
from tests.unit.gateway.openai_agent.samples import turn


async def test_what_tools_show_comes_in_their_order_however_slow_the_reader_is(config: RunConfig) -> None:
    @function_tool
    async def count(wrapper: RunContextWrapper[ChatContext], of: str) -> str:
        for number in range(20):
            await wrapper.context.progress(f"{of} {number}")
        return "counted"

    heard = await run(config, calling({"count": {"of": "sheep"}}, {"count": {"of": "goats"}}), tools=[count])
    told = [event.text for event in heard.events if isinstance(event, ProgressUpdateEvent)]
    assert told == [f"{of} {number}" for of in ("sheep", "goats") for number in range(20)]


async def test_a_tool_waits_until_what_it_shows_is_on_its_way() -> None:
    context, output = ChatContext(turn()), RunOutput(turn())
    context.open(lambda: None, end_round=lambda: None)
    showing = asyncio.create_task(context.progress("Hello"))
    await asyncio.sleep(0)
    assert not showing.done()
    [event] = context.next_waiting().show(output)
    await showing
    assert event == ProgressUpdateEvent(text="Hello")


async def test_what_is_shown_before_the_run_is_read_is_kept() -> None:
    context, output = ChatContext(turn()), RunOutput(turn())
    await context.progress("Early")
    context.open(lambda: None, end_round=lambda: None)
    assert context.next_waiting().show(output) == [ProgressUpdateEvent(text="Early")]


async def test_nothing_can_be_shown_when_the_run_is_over() -> None:
    context = ChatContext(turn())
    context.open(lambda: None, end_round=lambda: None)
    waiting = asyncio.create_task(context.progress("Too late"))
    await asyncio.sleep(0)
    context.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="the run is over"):
        await context.progress("Much too late")


async def test_tools_have_tasks_of_their_own(config: RunConfig) -> None:
    @function_tool
    async def bake(wrapper: RunContextWrapper[ChatContext]) -> str:
        chat = wrapper.context
        await chat.task("dough", CustomTask(title="Dough", status_indicator="loading"))
        await chat.task("dough", CustomTask(title="Dough", status_indicator="complete"))
        await chat.step("In the oven")
        await chat.end_workflow(CustomSummary(title="Baked"), expanded=True)
        return "bread"

    heard = await run(config, calling({"bake": {}}, text="Enjoy"), tools=[bake])
    [workflow] = [item for item in heard.items if isinstance(item, WorkflowItem)]
    assert workflow.workflow.summary == CustomSummary(title="Baked")
    assert workflow.workflow.expanded
    assert steps_of(heard) == [("Bake", "none"), ("Dough", "complete"), (None, "none")]


async def test_a_widget_may_change_while_the_tool_works(config: RunConfig) -> None:
    async def cards() -> AsyncIterator[Card]:
        for text in ("One", "One, two", "One, two, three"):
            yield Card(children=[Text(id="count", value=text, streaming=True)])

    @function_tool
    async def count(wrapper: RunContextWrapper[ChatContext]) -> str:
        await wrapper.context.widget(cards())
        return "counted"

    heard = await run(config, calling({"count": {}}, text="Done"), tools=[count])
    assert heard.kinds.count("widget.streaming_text.value_delta") >= 2
    [widget] = [item for item in heard.items if isinstance(item, WidgetItem)]
    assert "One, two, three" in str(encode_json(widget))


async def test_a_client_tool_ends_the_turn_although_the_model_would_go_on(config: RunConfig) -> None:
    @function_tool
    async def locate(wrapper: RunContextWrapper[ChatContext]) -> str:
        wrapper.context.call_client_tool("locate", precision="city")
        return "asked"

    heard = await run(config, calling({"locate": {}}, text="Never said"), tools=[locate])
    assert heard.texts == []
    last = heard.items[-1]
    assert isinstance(last, ClientToolCallItem)
    assert (last.status, last.name, last.arguments) == ("pending", "locate", {"precision": "city"})


async def test_a_turn_has_room_for_one_client_tool_only() -> None:
    context = ChatContext(turn())
    context.call_client_tool("locate")
    with pytest.raises(ValueError, match="locate is called already"):
        context.call_client_tool("locate")


async def test_a_tool_may_leave_it_at_what_was_shown(config: RunConfig) -> None:
    @function_tool
    async def greet(wrapper: RunContextWrapper[ChatContext]) -> str:
        wrapper.context.end_turn()
        return "greeted"

    model = calling({"greet": {}, "look": {}}, text="Never said")
    heard = await run(config, model, tools=[greet, constant_tool("look")])
    assert heard.failure is None
    assert heard.texts == []
    assert steps_of(heard) == [("Greet", "complete"), ("Look", "complete")]
