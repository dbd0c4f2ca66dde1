"""A model that uses tools, against the model server: rounds of calls, what is shown of them, their ends."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
import pytest

from bobbin_gateway.agent import AgentError
from bobbin_gateway.assistant import Assistant
from bobbin_gateway.openai_agent.agent import OpenAIAgent, open_agent
from bobbin_gateway.settings import Settings
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import tool
from bobbin_gateway.tools.memory import recalled
from bobbin_gateway.tools.tool import ClientTool, Tool, ToolCall, ToolError, ToolResult, ToolSpec
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import ClientToolCallItem, HiddenContextItem, InferenceOptions, WorkflowItem
from bobbin_protocol.tasks import CustomTask
from tests.model import ModelServer
from tests.unit.gateway.openai_agent.samples import Heard, turn, user
from tests.unit.gateway.openai_agent.test_agent import ask

WAYS = pytest.mark.parametrize(
    "way",
    [{"model_api": "responses"}, {"model_api": "chat"}, {"model_api": "responses", "background": True}],
    ids=["responses", "chat", "background"],
)


@tool(title="Adding up")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    if a == b == 0:
        raise ToolError("Nothing to add")
    return a + b


@tool
async def wait(context: ToolContext, seconds: float) -> str:
    """Wait."""
    await context.progress("Waiting")
    await asyncio.sleep(seconds)
    return "waited"


@tool
async def show(context: ToolContext) -> str:
    """Show something and leave it at that."""
    await context.notice("Look")
    context.end_turn()
    return "shown"


PAGE = ClientTool(
    spec=ToolSpec(name="page", description="Ask the page.", parameters={"type": "object"}, title="Page")
)
TOOLS: list[Tool | ClientTool] = [add, wait, show, PAGE]


def agent_for(
    server: ModelServer, way: dict[str, Any], *tools: Tool | ClientTool, **settings: Any
) -> AbstractAsyncContextManager[OpenAIAgent]:
    values = {"store_token": "x" * 16, "openai_api_key": "sk-test", "openai_base_url": server.base_url}
    return open_agent(
        msgspec.convert({**values, **way, **settings}, Settings), Assistant(tools=tools or TOOLS)
    )


def calling(*rounds: list[dict[str, Any]], **options: str) -> tuple[str, str]:
    """A model that calls in rounds and then speaks, and a word by which its requests are found."""
    seed = str(uuid4().int % 10**9)
    query = "".join(f"&{name}={quote(value)}" for name, value in options.items())
    return f"script:seed={seed}&calls={quote(json.dumps(rounds))}{query}", seed


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def steps_of(heard: Heard) -> list[list[CustomTask]]:
    """The steps of each workflow."""
    return [
        [task for task in item.workflow.tasks if isinstance(task, CustomTask)]
        for item in heard.items
        if isinstance(item, WorkflowItem)
    ]


def exchanges_of(heard: Heard) -> list[Any]:
    return [recalled(item.content) for item in heard.items if isinstance(item, HiddenContextItem)]


@WAYS
async def test_the_model_is_given_results_until_it_speaks(model_server: ModelServer, way: Any) -> None:
    model, seed = calling(
        [call("add", {"a": 1, "b": 2}), call("add", {"a": 3, "b": 4})],
        [call("add", {"a": 3, "b": 7})],
        text="It is 10.",
        before="Let me see.",
    )
    asked = turn(user("1 + 2 + 3 + 4?"), model=model)
    async with agent_for(model_server, way) as agent:
        heard = await ask(agent, asked)
    assert heard.failure is None
    assert heard.texts == [["Let me see."], ["Let me see."], ["It is 10."]]
    assert [step.status_indicator for steps in steps_of(heard) for step in steps] == ["complete"] * 3
    assert {step.title for steps in steps_of(heard) for step in steps} == {"Adding up"}
    first, second = exchanges_of(heard)
    assert [result.output for result in first.results] == ["3", "7"]
    assert [(call.name, json.loads(call.arguments)) for call in second.calls] == [("add", {"a": 3, "b": 7})]
    requests = model_server.received(seed)
    assert len(requests) == 3
    offered = {tool.get("name") or tool["function"]["name"] for tool in requests[0]["body"]["tools"]}
    assert offered == {"add", "wait", "show", "page"}
    told = json.dumps(requests[2]["body"])
    assert all(f'"{output}"' in told for output in ("3", "7", "10"))
    assert told.count("Let me see.") == 2
    assert asked.usage is not None
    assert asked.usage.output_tokens > 3


@WAYS
async def test_calls_that_fail_are_told_to_the_model_which_goes_on(
    model_server: ModelServer, way: Any
) -> None:
    model, seed = calling(
        [
            call("add", {"a": 0, "b": 0}),
            call("add", "no JSON"),
            call("sub", {}),
            call("add", {"a": 1, "b": 1}),
        ],
        text="Sorry.",
    )
    async with agent_for(model_server, way) as agent:
        heard = await ask(agent, turn(model=model))
    assert heard.failure is None
    assert heard.texts == [["Sorry."]]
    [exchange] = exchanges_of(heard)
    nothing, malformed, unknown, fine = [result.output for result in exchange.results]
    assert nothing == "Error: Nothing to add"
    assert malformed.startswith("Error: The arguments do not fit")
    assert unknown == "Error: There is no tool called 'sub'"
    assert fine == "2"
    [steps] = steps_of(heard)
    assert [step.status_indicator for step in steps] == ["none", "none", "none", "complete"]
    assert nothing in json.dumps(model_server.received(seed)[1]["body"])


@WAYS
async def test_a_call_is_seen_while_its_arguments_still_come(model_server: ModelServer, way: Any) -> None:
    arguments = {"a": 1, "b": 2, "c" * 200: 3}
    model, _ = calling([call("add", arguments)], text="ok", delay_ms="300", size="8")
    asked, began, seen = turn(model=model), time.monotonic(), 0.0
    async with agent_for(model_server, way) as agent, aclosing(agent.respond(asked)) as events:
        async for event in events:
            if event.__struct_config__.tag == "thread.item.added":
                seen = time.monotonic() - began
                break
    assert 0 < seen < 4  # the arguments take more than eight seconds


@WAYS
async def test_ten_calls_of_a_second_take_little_more_than_one(model_server: ModelServer, way: Any) -> None:
    model, _ = calling([call("wait", {"seconds": 1}) for _ in range(10)], text="ok")
    began = time.monotonic()
    async with agent_for(model_server, way) as agent:
        heard = await ask(agent, turn(model=model))
    assert time.monotonic() - began < 8
    [steps] = steps_of(heard)
    assert len(steps) == 10
    most_loading = 0
    loading: set[int] = set()
    for event in heard.events:
        update: Any = getattr(event, "update", None)
        task = getattr(update, "task", None)
        if isinstance(task, CustomTask):
            place = update.task_index
            loading = loading | {place} if task.status_indicator == "loading" else loading - {place}
            most_loading = max(most_loading, len(loading))
    assert most_loading >= 9  # the first comes with the workflow


@WAYS
async def test_a_model_that_never_stops_calling_is_stopped(model_server: ModelServer, way: Any) -> None:
    model, seed = calling(*[[call("add", {"a": n, "b": 1})] for n in range(20)], text="ok")
    async with agent_for(model_server, way, tool_rounds=3) as agent:
        heard = await ask(agent, turn(model=model))
    assert heard.failure is not None
    assert heard.failure.allow_retry
    requests = model_server.received(seed)
    assert [request["body"].get("tool_choice") for request in requests] == [None, None, None, "none"]


@WAYS
async def test_the_page_is_asked_for_one_call_at_a_time_and_the_turn_ends(
    model_server: ModelServer, way: Any
) -> None:
    model, seed = calling(
        [
            call("page", {"first": 1}),
            call("add", {"a": 1, "b": 2}),
            call("page", {"second": 2}),
            call("page", "[]"),
        ],
        text="never said",
    )
    async with agent_for(model_server, way) as agent:
        heard = await ask(agent, turn(model=model))
    [pending] = [item for item in heard.items if isinstance(item, ClientToolCallItem)]
    assert (pending.status, pending.name, pending.arguments) == ("pending", "page", {"first": 1})
    assert heard.items[-1] is pending
    [exchange] = exchanges_of(heard)
    assert [result.failed for result in exchange.results] == [False, True, True]
    assert [task.title for steps in steps_of(heard) for task in steps] == ["Adding up"]
    assert len(model_server.received(seed)) == 1
    # What comes back is told as the output of that call.
    pending.status, pending.output = "completed", {"colour": "green"}
    goes_on = turn(user("Hi"), *heard.items, model="script:text=Thanks&seed=1")
    goes_on.message = None
    async with agent_for(model_server, way) as agent:
        assert (await ask(agent, goes_on)).texts == [["Thanks"]]


@WAYS
async def test_a_tool_can_end_the_turn(model_server: ModelServer, way: Any) -> None:
    model, seed = calling([call("show", {})], text="never said")
    async with agent_for(model_server, way) as agent:
        heard = await ask(agent, turn(model=model))
    assert heard.failure is None
    assert heard.texts == []
    assert "notice" in heard.kinds
    assert len(model_server.received(seed)) == 1


@WAYS
async def test_a_tool_that_the_user_chose_is_asked_for_once(model_server: ModelServer, way: Any) -> None:
    model, seed = calling([call("add", {"a": 1, "b": 2})], text="3")
    asked = turn(model=model)
    asked.tool_choice = "add"
    async with agent_for(model_server, way) as agent:
        await ask(agent, asked)
    first, second = [request["body"].get("tool_choice") for request in model_server.received(seed)]
    assert "add" in json.dumps(first)
    assert second is None


@WAYS
async def test_leaving_in_the_middle_of_a_call_stops_it(model_server: ModelServer, way: Any) -> None:
    stopped = asyncio.Event()

    @tool
    async def hang(context: ToolContext) -> None:
        """Hang."""
        try:
            await context.progress("Hanging")
            await asyncio.sleep(60)
        finally:
            stopped.set()

    model, _ = calling([call("hang", {})], text="never said")
    async with (
        agent_for(model_server, way, hang) as agent,
        aclosing(agent.respond(turn(model=model))) as events,
    ):
        async for event in events:
            if event.__struct_config__.tag == "progress_update":
                break
    assert stopped.is_set()


async def test_a_turn_whose_tools_were_running_is_not_continued_elsewhere(model_server: ModelServer) -> None:
    """Nobody knows how far they got: rather an honest end than doing it twice."""
    model, _ = calling([call("wait", {"seconds": 30})], text="never said")
    asked, said = turn(model=model), list[ThreadStreamEvent]()
    way = {"model_api": "responses", "background": True}
    async with agent_for(model_server, way) as agent:
        async with aclosing(agent.respond(asked)) as events:
            async for event in events:
                said.append(event)
                if event.__struct_config__.tag == "progress_update":
                    break
        assert asked.checkpoint is not None
        other, checkpoint = turn(model=model), asked.checkpoint
        heard = Heard()
        heard.events = said
        with pytest.raises(AgentError) as failure:
            async for _ in agent.resume(other, heard.items, checkpoint):
                pass
        assert failure.value.allow_retry
        await agent.abandon(checkpoint)  # there is nothing to stop


async def test_a_call_in_the_making_is_made_by_whoever_takes_the_turn_over(model_server: ModelServer) -> None:
    model, seed = calling([call("add", {"a": 1, "b": 2})], text="It is 3.", size="2", delay_ms="10")
    asked, said, way = turn(model=model), Heard(), {"model_api": "responses", "background": True}
    async with agent_for(model_server, way) as agent:
        async with aclosing(agent.respond(asked)) as events:
            async for event in events:
                if asked.checkpoint is not None:  # it stands before this event
                    asked.handed_over = True
                    break
                said.events.append(event)
        assert asked.checkpoint is not None
        taken_over = turn(model=model)
        taken_over.history = []
        async for event in agent.resume(taken_over, said.items, asked.checkpoint):
            said.events.append(event)
    assert said.texts == [["It is 3."]]
    [steps] = steps_of(said)
    assert [step.status_indicator for step in steps] == ["complete"]
    posted = [r for r in model_server.received(seed) if r["body"]]
    assert "previous_response_id" in posted[-1]["body"]


@pytest.mark.parametrize(("models", "goes_on"), [("*", True), ("", False)])
async def test_an_answer_that_is_made_again_is_made_by_the_model_that_was_chosen_with_its_question(
    model_server: ModelServer, models: str, goes_on: bool
) -> None:
    """A retry, or the output of a page's function, brings no choice of its own."""
    model, seed = calling(text="chosen")
    question = user("Hi", inference_options=InferenceOptions(model=model))
    settings = {"models": models, "model": "script:text=default"}
    async with agent_for(model_server, {"model_api": "chat"}, **settings) as agent:
        heard = await ask(agent, turn(question))
    assert heard.texts == [["chosen" if goes_on else "default"]]
    assert bool(model_server.received(seed)) == goes_on


def test_calls_and_results_have_plain_forms() -> None:
    assert ToolCall(call_id="a", name="b", arguments="{}") == ToolCall(call_id="a", name="b", arguments="{}")
    assert not ToolResult(call_id="a", output="").failed
