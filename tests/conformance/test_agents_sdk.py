"""The same runs of the Agents SDK, converted by the reference and by us.

A run is done twice, each time through HTTP. Ids, times and durations are replaced; thoughts, of which the
reference sends more states than we do, and of some only the last, count as they stood in the end. Then all
events must be equal, but for the differences listed here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunContextWrapper,
    Runner,
    RunResultStreaming,
    function_tool,
    input_guardrail,
)
from chatkit.agents import AgentContext, ClientToolCall, stream_agent_response
from chatkit.types import ClientEffectEvent, Page, ProgressUpdateEvent, ThreadMetadata
from chatkit.types import CustomSummary as TheirSummary
from chatkit.types import CustomTask as TheirTask
from chatkit.widgets import Card as TheirCard
from chatkit.widgets import Text as TheirText
from msgspec import Struct

from bobbin_gateway.agents_sdk import ChatContext, stream_events
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.ids import new_id
from bobbin_protocol.tasks import CustomSummary, CustomTask
from bobbin_protocol.widgets.content import Text
from bobbin_protocol.widgets.layout import Card
from bobbin_protocol.wire import encode_json
from tests.client import check_event, kinds_of
from tests.model import ModelServer, model_server
from tests.recordings import ALL
from tests.sdk import CALLED, calling, constant_tool, models_at
from tests.unit.gateway.openai_agent.samples import NOW, turn

__all__ = ["model_server"]

Event = dict[str, Any]
TheirWrapper = RunContextWrapper[AgentContext[Any]]


class NoStore:
    """What the reference's conversion needs of a store: ids, and nothing that it could continue."""

    def generate_item_id(self, kind: Any, thread: Any, context: Any) -> str:
        return new_id(kind)

    async def load_thread_items(self, *arguments: Any) -> Page[Any]:
        return Page(data=[])

    async def add_thread_item(self, *arguments: Any) -> None:
        pass


class Sides(Struct):
    """How one run is done on each side."""

    theirs: Callable[..., Awaitable[list[Event]]]
    ours: Callable[..., Awaitable[list[Event]]]
    begun: asyncio.Event
    """Set by the first part of an answer that is shown, on either side."""


@pytest.fixture
async def sides(model_server: ModelServer, recordings: object) -> AsyncIterator[Sides]:
    begun = asyncio.Event()
    async with models_at(model_server.base_url) as config:

        def start(model: str, context: Any, tools: list[Any], **options: Any) -> RunResultStreaming:
            rounds = "run_llm_again" if model.startswith("script:") else "stop_on_first_tool"
            options = {"tools": tools, "tool_use_behavior": rounds, **options}
            agent = Agent[Any](name="a", model=model, **options)
            return Runner.run_streamed(agent, "Hello", context=context, run_config=config)

        async def theirs(model: str, tools: list[Any], **options: Any) -> list[Event]:
            thread = ThreadMetadata(id="thr_1", created_at=NOW)
            context = AgentContext[Any].model_construct(thread=thread, store=NoStore(), request_context=None)
            result = start(model, context, tools, **options)
            return await _events_of(stream_agent_response(context, result), begun)

        async def ours(
            model: str, tools: list[Any], *, show_tools: bool = True, **options: Any
        ) -> list[Event]:
            mine = turn()
            result = start(model, ChatContext(mine), tools, **options)
            return await _events_of(stream_events(mine, result, show_tools=show_tools), begun)

        yield Sides(theirs=theirs, ours=ours, begun=begun)


async def _events_of(stream: AsyncIterator[Any], begun: asyncio.Event) -> list[Event]:
    """The events, as JSON at the moment they come: the reference goes on changing its items."""
    events: list[Event] = []
    try:
        async for event in stream:
            ours = isinstance(event, ThreadStreamEvent)
            events.append(
                json.loads(encode_json(event) if ours else event.model_dump_json(exclude_none=True))
            )
            if ours:
                check_event(events[-1])
            if "delta" in events[-1].get("update", {}):
                begun.set()
    except Exception:  # noqa: BLE001 (the reference raises what the SDK raises)
        events.append({"type": "error"})
    return events


def comparable(events: list[Event]) -> list[Event]:
    """What a client sees, without ids, times and durations, and with each thought as it stood in the end."""
    names: dict[str, str] = {}
    steps: dict[tuple[str, int], Event] = {}
    kept: list[Event] = []
    visible = (event for event in events if event.get("item", {}).get("type") != "hidden_context_item")
    for event in (_anonymous(event, names) for event in visible):
        update = event.get("update", {})
        if update.get("task", {}).get("type") == "thought":
            place = (event["item_id"], update["task_index"])
            if place in steps:
                steps[place]["update"]["task"] = update["task"]
                continue
            steps[place] = event
        kept.append(event)
    return kept


def without_hosted_tools(events: list[Event]) -> list[Event]:
    """Without the steps of tools at the provider: the reference shows none of them."""
    kept: list[Event] = []
    for event in events:
        workflow = event.get("item", {}).get("workflow")
        if workflow is not None:
            workflow["tasks"] = [task for task in workflow["tasks"] if task["type"] == "thought"]
        if event.get("update", {}).get("task", {}).get("type", "thought") == "thought" and not (
            workflow and workflow["type"] == "custom"
        ):
            kept.append(event)
    return kept


def _anonymous(value: Any, names: dict[str, str], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _anonymous(inner, names, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_anonymous(inner, names) for inner in value]
    if key in {"id", "item_id", "call_id"} and isinstance(value, str):
        return names.setdefault(value, f"<{len(names)}>")
    if key == "duration":
        return "<seconds>"
    return "<time>" if key == "created_at" else value


class Difference(Struct):
    """A run that we show otherwise than the reference: what each shows, and why."""

    recording: str
    reason: str
    theirs: list[str]
    ours: list[str]


THINKING = ["thread.item.added workflow"]
THOUGHT = ["workflow.task.added"]
THOUGHT_DONE = ["thread.item.done workflow"]
ADDED = ["thread.item.added assistant_message", "assistant_message.content_part.added"]
DELTAS = ["assistant_message.content_part.text_delta"]
SOURCE = ["assistant_message.content_part.annotation_added"]
DONE = ["assistant_message.content_part.done", "thread.item.done assistant_message"]
IMAGE = ["thread.item.added generated_image", "generated_image.updated", "thread.item.done generated_image"]
ERROR = ["error"]

LEFT_OPEN = (
    "The reference stores a workflow that is open at the end, but never tells the client that it is done."
)
RAW_THOUGHTS = (
    "The reference shows summaries of thoughts only; we show thoughts of providers that have no summaries."
)
CITATIONS = "The reference cannot read citations as the openai package has them since 3.0, and fails."

DIFFERENCES = [
    Difference("responses-bedrock-data-before-event", LEFT_OPEN, THINKING, THINKING + THOUGHT_DONE),
    Difference(
        "responses-xai-summary-function-call",
        LEFT_OPEN,
        THINKING + THOUGHT,
        THINKING + THOUGHT + THOUGHT_DONE,
    ),
    Difference(
        "responses-deepseek-reasoning-text-function-call",
        f"{LEFT_OPEN} {RAW_THOUGHTS}",
        THINKING,
        THINKING + THOUGHT + THOUGHT_DONE,
    ),
    Difference(
        "responses-openrouter-raw-reasoning",
        RAW_THOUGHTS,
        THINKING + THOUGHT_DONE + ADDED + DELTAS + DONE,
        THINKING + THOUGHT + THOUGHT_DONE + ADDED + DELTAS + DONE,
    ),
    Difference(
        "responses-copilot-rotating-item-ids",
        "The reference goes by the provider's ids: its deltas belong to no item when these change.",
        [*THINKING, *THOUGHT, *THOUGHT_DONE, ADDED[0], DONE[1]],
        THINKING + THOUGHT + THOUGHT_DONE + ADDED + DELTAS + DONE,
    ),
    Difference(
        "responses-openai-code-interpreter-image-file",
        f"{CITATIONS} We show the picture that the code has made, too.",
        THINKING + THOUGHT_DONE + ADDED + DELTAS + ERROR,
        THINKING + THOUGHT_DONE + [IMAGE[0], IMAGE[2]] + ADDED + DELTAS + SOURCE + SOURCE + DONE,
    ),
    Difference(
        "responses-openai-file-search-citation",
        CITATIONS,
        ADDED + DELTAS + ERROR,
        ADDED + DELTAS + SOURCE + DELTAS + DONE,
    ),
    Difference(
        "responses-openai-web-search-many",
        CITATIONS,
        THINKING + THOUGHT_DONE + ADDED + DELTAS + ERROR,
        THINKING + THOUGHT_DONE + ADDED + (DELTAS + SOURCE) * 4 + DELTAS + DONE,
    ),
    Difference(
        "responses-openai-image-generation-partial",
        "The reference shows the empty message that follows, and ends the workflow with it, below the image.",
        THINKING + IMAGE + THOUGHT_DONE + ADDED + DONE,
        THINKING + THOUGHT_DONE + IMAGE,
    ),
    Difference(
        "responses-openai-mcp-call",
        "Our workflow is one of steps, since it begins with the list of the tools, and is left out here.",
        THINKING + THOUGHT_DONE + ADDED + DELTAS + DONE,
        ADDED + DELTAS + DONE,
    ),
    Difference(
        "responses-openai-incomplete-max-tokens",
        "The SDK fails on an incomplete response although all was streamed; we add a notice.",
        ADDED + DELTAS + DONE + ERROR,
        [*ADDED, *DELTAS, *DONE, "notice"],
    ),
]


FAILING = [
    "responses-openai-error-then-failed",
    "responses-openai-mcp-approval-request",
    "responses-openai-tool-search-items",
]
"""Runs in which the SDK fails: it drops what was not read by then, so time decides what is shown before."""

SAME = [
    recording.name
    for recording in ALL
    if recording.dialect == "responses"
    and recording.name not in {*FAILING, *(difference.recording for difference in DIFFERENCES)}
]


@pytest.mark.parametrize("name", FAILING)
async def test_the_same_runs_fail(name: str, sides: Sides) -> None:
    for events in (await sides.theirs(f"recording:{name}", []), await sides.ours(f"recording:{name}", [])):
        assert events[-1] == {"type": "error"}


@pytest.mark.parametrize("name", SAME)
async def test_the_same_runs_show_the_same(name: str, sides: Sides) -> None:
    tools = [constant_tool(name) for name in CALLED]
    theirs = comparable(await sides.theirs(f"recording:{name}", tools))
    mine = await sides.ours(f"recording:{name}", tools, show_tools=False)
    mine = comparable(without_hosted_tools(mine))
    assert mine == theirs


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.recording)
async def test_the_list_of_differences_is_true(difference: Difference, sides: Sides) -> None:
    tools = [constant_tool(name) for name in CALLED]
    theirs = comparable(await sides.theirs(f"recording:{difference.recording}", tools))
    mine = await sides.ours(f"recording:{difference.recording}", tools, show_tools=False)
    mine = comparable(without_hosted_tools(mine))
    assert kinds_of(_understood(theirs)) == difference.theirs
    assert kinds_of(_understood(mine)) == difference.ours


def _understood(events: list[Event]) -> list[Event]:
    """What a client makes of the events: updates of items that it does not know are lost on it."""
    known = {event["item"]["id"] for event in events if event["type"] == "thread.item.added"}
    return [event for event in events if event.get("item_id", next(iter(known), "")) in known]


@function_tool
async def their_get_weather(wrapper: RunContextWrapper[AgentContext[Any]]) -> str:
    """Do with the reference's context what the tool below does with ours."""
    context = wrapper.context
    opening = TheirTask(title="Open the window", status_indicator="loading")
    opened = TheirTask(title="Open the window", status_indicator="complete")
    card = TheirCard(children=[TheirText(value="Sunny")])
    for showing in (
        context.stream(ProgressUpdateEvent(text="Looking")),
        context.add_workflow_task(opening),
        context.update_workflow_task(opened, 0),
        context.add_workflow_task(TheirTask(title="Close it", content="Quickly")),
        context.stream_widget(card, copy_text="Sunny"),
        context.stream(ClientEffectEvent(name="shine", data={"brightly": True})),
        context.add_workflow_task(TheirTask(title="Go out")),
        context.end_workflow(TheirSummary(title="Went out"), expanded=True),
    ):
        await showing
        await asyncio.sleep(0.05)  # until it is read: it shows the workflow as it stands by then
    return "sunny"


@function_tool
async def our_get_weather(wrapper: RunContextWrapper[ChatContext]) -> str:
    """Show all that a tool can show."""
    chat = wrapper.context
    await chat.progress("Looking")
    await chat.task("open", CustomTask(title="Open the window", status_indicator="loading"))
    await chat.task("open", CustomTask(title="Open the window", status_indicator="complete"))
    await chat.task("close", CustomTask(title="Close it", content="Quickly"))
    await chat.widget(Card(children=[Text(value="Sunny")]), copy_text="Sunny")
    await chat.effect("shine", brightly=True)
    await chat.task("go", CustomTask(title="Go out"))
    await chat.end_workflow(CustomSummary(title="Went out"), expanded=True)
    return "sunny"


async def test_tools_show_the_same_in_the_same_order(sides: Sides) -> None:
    model = calling({"get_weather": {}}, text="It is sunny")
    their_get_weather.name = our_get_weather.name = "get_weather"
    theirs = comparable(await sides.theirs(model, [their_get_weather]))
    mine = comparable(await sides.ours(model, [our_get_weather], show_tools=False))
    assert mine == theirs
    kinds = kinds_of(mine)
    assert kinds[-5:] == [*ADDED, *DELTAS, *DONE]
    assert {"progress_update", "client_effect", "thread.item.done widget"} < set(kinds)


@function_tool
async def their_locate(wrapper: RunContextWrapper[AgentContext[Any]]) -> str:
    """Ask the page."""
    wrapper.context.client_tool_call = ClientToolCall(name="locate", arguments={"near": "Paris"})
    return ""


@function_tool
async def our_locate(wrapper: RunContextWrapper[ChatContext]) -> str:
    """Ask the page."""
    wrapper.context.call_client_tool("locate", near="Paris")
    return ""


async def test_a_client_tool_ends_the_turn_the_same_way(sides: Sides) -> None:
    their_locate.name = our_locate.name = "get_weather"
    model = calling({"get_weather": {}})
    stop = {"stop_at_tool_names": ["get_weather"]}  # which ours does by itself
    theirs = comparable(await sides.theirs(model, [their_locate], tool_use_behavior=stop))
    mine = comparable(await sides.ours(model, [our_locate], show_tools=False))
    assert mine == theirs
    assert mine[-1]["item"]["name"] == "locate"


async def test_what_was_shown_is_taken_back_when_a_guardrail_trips(sides: Sides) -> None:
    @input_guardrail
    async def nothing_is_allowed(*arguments: Any) -> GuardrailFunctionOutput:
        await sides.begun.wait()
        return GuardrailFunctionOutput(output_info="", tripwire_triggered=True)

    model = "script:deltas=200&delay_ms=15"
    theirs = await sides.theirs(model, [], input_guardrails=[nothing_is_allowed])
    sides.begun.clear()
    mine = await sides.ours(model, [], input_guardrails=[nothing_is_allowed])
    for events in (theirs, mine):
        assert kinds_of(events) == [*ADDED, *DELTAS, "thread.item.removed", *ERROR]
        assert events[-2]["item_id"] == events[0]["item"]["id"]
