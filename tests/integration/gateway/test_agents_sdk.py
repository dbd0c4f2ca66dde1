"""A gateway whose agent is one of the OpenAI Agents SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.client import Client, answers_of, errors_of, kinds_of, thread_id_of
from tests.processes import Service, running
from tests.sdk import calling
from tests.stack import Stack, gateway_service


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Service]:
    settings = {"GATEWAY_AGENT": "tests.sdk_agent:agent"}
    with running(gateway_service(stack.store, stack.model, **settings)) as gateway:
        yield gateway


@pytest.fixture
async def chat(gateway: Service) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield Client(http)


async def items(chat: Client, thread_id: str) -> list[dict[str, Any]]:
    return (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]


async def test_tools_show_widgets_and_progress_and_the_model_answers(chat: Client) -> None:
    model = calling({"get_weather": {"city": "Rome"}}, text="It is sunny")
    events = await chat.create("How is the weather?", model=model)
    assert kinds_of(events)[3:8] == [
        "thread.item.added workflow",
        "progress_update",
        "thread.item.done widget",
        "workflow.task.updated",
        "thread.item.done workflow",
    ]
    assert answers_of(events) == ["It is sunny"]
    assert errors_of(events) == []
    kept = await items(chat, thread_id_of(events))
    assert [item["type"] for item in kept] == ["user_message", "workflow", "widget", "assistant_message"]
    assert kept[2]["copy_text"] == "local sees the sun"


async def test_the_next_turn_knows_what_was_done_in_this_one(chat: Client, stack: Stack) -> None:
    model = calling({"get_weather": {"city": "Ulan Bator"}}, text="It is sunny")
    thread_id = thread_id_of(await chat.create("How is the weather?", model=model))
    events = await chat.say(thread_id, "say:And now?")
    assert answers_of(events) == ["And now?"]
    async with httpx.AsyncClient(base_url=stack.model.url, timeout=30) as http:
        answer = await http.get("/requests", params={"contains": "Ulan Bator"})
    told = answer.json()["requests"][-1]["body"]["input"]
    assert [entry.get("role") or entry["type"] for entry in told] == [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
        "user",
    ]


async def test_a_stop_reaches_a_tool_that_runs(chat: Client, gateway: Service) -> None:
    said = {"content": [{"type": "input_text", "text": "Snow?"}], "attachments": []}
    options = {"model": calling({"wait_for_snow": {}}, before="Let me see")}
    body = {"input": {**said, "inference_options": options}}
    seen: list[dict[str, Any]] = []
    async with chat.stream("threads.create", **body) as events:
        async for event in events:
            seen.append(event)
            if event["type"] == "progress_update":
                break
    assert seen[-1]["text"] == "Waiting for the snow"
    async with asyncio.timeout(10):
        while "nobody waits for the snow any more" not in gateway.log():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)
        kinds = ["workflow"]  # as long as the turn has not ended
        while "workflow" in kinds:
            kinds = [item["type"] for item in await items(chat, thread_id_of(seen))]
    assert kinds == ["user_message", "assistant_message"]
    assert answers_of(seen) == ["Let me see"]


async def test_a_failing_model_is_told(chat: Client) -> None:
    events = await chat.create("Hello", model="script:status=401")
    [error] = errors_of(events)
    assert "refuses this server's key" in error["message"]
    assert error["allow_retry"] is False
