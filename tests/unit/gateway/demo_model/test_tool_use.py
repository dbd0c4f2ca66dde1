"""What a person can do with tools without a real model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from bobbin_gateway.demo_model.prompt import Request, decode_request
from bobbin_gateway.demo_model.tool_use import demo_call, told

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "create_task": {"title": TEXT},
    "list_tasks": {},
    "delete_task": {"task": WHOLE},
    "delete_all_tasks": {},
    "update_task": {"task": WHOLE, "title": TEXT},
    "files__read_file": {"path": {"type": ["string", "null"]}},
    "addToCart": {"count": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    "set-range": {"low": WHOLE, "high": WHOLE, "step": WHOLE},
}


def _parameters(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": SCHEMAS[name], "required": list(SCHEMAS[name])}


def _request(*items: str | dict[str, Any], **fields: Any) -> Request:
    messages = [{"role": "user", "content": item} if isinstance(item, str) else item for item in items]
    tools = [{"type": "function", "name": name, "parameters": _parameters(name)} for name in SCHEMAS]
    body = {"model": "demo", "input": messages, "tools": [{"type": "web_search"}, *tools], **fields}
    return decode_request(json.dumps(body))


def _called(message: str, **fields: Any) -> tuple[str, Any] | None:
    call = demo_call(_request(message, **fields))
    return None if call is None else (call.name, call.arguments)


@pytest.mark.parametrize(
    ("message", "name", "arguments"),
    [
        ("create a task buy milk", "create_task", {"title": "buy milk"}),
        (
            "Please CREATE this task: “Buy 2 litres of milk”!",
            "create_task",
            {"title": "Buy 2 litres of milk”!"},
        ),
        ("create task to walk the dog", "create_task", {"title": "walk the dog"}),
        ("sweep the floor: create that task", "create_task", {"title": "sweep the floor: that"}),
        ("create task", "create_task", {"title": "create task"}),
        ("list my tasks", "list_tasks", {}),
        ("list every task that there is", "list_tasks", {}),
        ("delete tasks 12", "delete_task", {"task": 12}),
        ("delete task", "delete_task", {}),
        ("delete all my tasks", "delete_all_tasks", {}),
        ("list the tasks, I may delete a task", "list_tasks", {}),
        ("update task 3 to 2 eggs", "update_task", {"task": 3, "title": "2 eggs"}),
        ("read the file /etc/motd from my files", "files__read_file", {"path": "/etc/motd from my files"}),
        ("add 3 of these to my cart", "addToCart", {"count": 3}),
        ("set the range from -5 to 7.5, no, 7", "set-range", {"low": -5, "high": 7}),
    ],
)
def test_a_tool_whose_name_is_in_the_message_is_called(
    message: str, name: str, arguments: dict[str, Any]
) -> None:
    """With what else is said as its arguments; of several the best match."""
    assert _called(message) == (name, arguments)


@pytest.mark.parametrize(
    "message", ["Hello", "create", "my task", "say:list tasks"[:4], "listed taskses", ""]
)
def test_without_the_whole_name_nothing_is_called(message: str) -> None:
    assert _called(message) is None


def test_a_call_can_be_written_exactly() -> None:
    """As it stands, JSON or not; so that it can be seen what tools make of it."""
    assert _called('call delete_task {"task": [1]}') == ("delete_task", '{"task": [1]}')
    assert _called("call list_tasks") == ("list_tasks", "{}")
    assert _called("call delete_task {oh no") == ("delete_task", "{oh no")
    assert _called("call nothing {}") is None


def test_the_request_may_choose_or_forbid() -> None:
    """As in the real API, in both dialects."""
    chosen = {"type": "function", "name": "create_task"}
    assert _called("buy milk", tool_choice=chosen) == ("create_task", {"title": "buy milk"})
    assert _called("list tasks", tool_choice={"type": "function", "function": chosen}) == (
        "create_task",
        {"title": "list tasks"},
    )
    assert _called("list tasks", tool_choice="none") is None
    assert _called("list tasks", tool_choice="auto") is not None


def test_notes_around_a_message_are_none_of_it() -> None:
    """A model is told in the user's name what the user was shown: that asks for nothing."""
    note = "[The user was shown: [ ] 1. create task\n[x] 2. list tasks]"
    assert _called(f"{note}\n\ndelete task 2\n\n{note}") == ("delete_task", {"task": 2})
    assert _called(f"{note}\n\nThank you") is None


def test_after_the_results_it_speaks() -> None:
    """Only what the last message brought about counts, and of that the last round."""
    output = {"type": "function_call_output", "output": "No tasks\n\nat all"}
    assert demo_call(_request("list tasks", {"type": "function_call"}, output)) is None
    assert demo_call(_request("list tasks", {"type": "function_call"}, output, "list tasks")) is not None
    assert told(["No tasks\n\nat all"]) == "The tool says: “No tasks at all”."
    assert told(["1", "2"]) == "The tools say: “1”, “2”."
    assert len(told(["word " * 1000])) < 250


@given(
    st.text()
    | st.lists(st.sampled_from(["create", "task", "1", "-2", ":", "”", "\n\n", "[", "]"])).map(" ".join)
)
def test_no_message_is_too_odd(message: str) -> None:
    """Whatever is called gets its required text."""
    called = _called(message)
    assert called is None or called[0] not in {"create_task", "update_task"} or "title" in called[1]


async def _by_responses(openai: AsyncOpenAI, message: str) -> tuple[str, str, str]:
    tool: Any = {"type": "function", "name": "create_task", "parameters": _parameters("create_task")}
    stream = await openai.responses.create(model="demo", input=message, tools=[tool], stream=True)
    [call] = [e.item async for e in stream if e.type == "response.output_item.done"]
    assert call.type == "function_call"
    items: Any = [
        {"role": "user", "content": message},
        call.model_dump(),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Created 1"},
    ]
    answer = await openai.responses.create(model="demo", input=items, tools=[tool])
    return call.name, call.arguments, answer.output_text


async def _by_chat(openai: AsyncOpenAI, message: str) -> tuple[str, str, str]:
    function = {"name": "create_task", "parameters": _parameters("create_task")}
    tools: Any = [{"type": "function", "function": function}]
    asked: Any = {"role": "user", "content": message}
    first = await openai.chat.completions.create(model="demo", messages=[asked], tools=tools)
    [call] = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    messages: Any = [
        asked,
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Created 1"},
    ]
    stream = await openai.chat.completions.create(model="demo", messages=messages, tools=tools, stream=True)
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    return call.function.name, call.function.arguments, said


@pytest.mark.parametrize("ask", [_by_responses, _by_chat])
async def test_the_real_client_sees_a_call_and_then_an_answer(
    openai: AsyncOpenAI, ask: Callable[[AsyncOpenAI, str], Any]
) -> None:
    """In both dialects, streamed and whole."""
    name, arguments, said = await ask(openai, "Create a task: buy milk")
    assert (name, json.loads(arguments)) == ("create_task", {"title": "buy milk"})
    assert said == "The tool says: “Created 1”."
