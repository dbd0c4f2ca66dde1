"""How each dialect writes down what a model is asked."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.openai_agent.prompt import (
    Message,
    Prompt,
    chat_messages,
    chat_tools,
    responses_input,
    responses_tools,
)
from bobbin_gateway.tools.memory import ToolExchange
from bobbin_gateway.tools.tool import ToolCall, ToolResult, ToolSpec
from bobbin_protocol.attachments import FileAttachment, ImageAttachment

CALLS = [ToolCall(call_id=f"c{n}", name="add", arguments='{"a":1}') for n in (1, 2)]
EXCHANGE = ToolExchange(
    CALLS, [ToolResult(call_id="c1", output="one"), ToolResult(call_id="c2", output="two")]
)
ADD = ToolSpec(name="add", description="Add.", parameters={"type": "object", "properties": {}}, title="Add")


def test_calls_come_with_their_results_in_the_dialects_own_form() -> None:
    prompt = Prompt(model="m", entries=[Message("user", "Hi"), EXCHANGE], instructions="Be brief.")
    assert responses_input(prompt) == [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
    ]
    system, question, asked, *results = chat_messages(prompt)
    assert (system["role"], question["role"]) == ("system", "user")
    assert [call["id"] for call in asked["tool_calls"]] == ["c1", "c2"]
    assert asked["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert results == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
    ]


def test_tools_of_ours_stand_beside_the_providers() -> None:
    prompt = Prompt(model="m", entries=[], tools=[ADD], provider_tools=[{"type": "web_search"}])
    assert responses_tools(prompt)["tools"] == [
        {
            "type": "function",
            "name": "add",
            "description": "Add.",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "web_search"},
    ]
    assert chat_tools(prompt)["tools"][0] == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    assert responses_tools(Prompt(model="m", entries=[])) == chat_tools(Prompt(model="m", entries=[])) == {}


@pytest.mark.parametrize(
    ("fields", "responses", "chat"),
    [
        ({}, None, None),
        (
            {"tool_choice": "add"},
            {"type": "function", "name": "add"},
            {"type": "function", "function": {"name": "add"}},
        ),
        ({"tool_choice": "web_search"}, {"type": "web_search"}, {"type": "web_search"}),
        ({"tool_choice": "unknown"}, None, None),
        ({"tool_choice": "add", "may_call": False}, "none", "none"),
    ],
)
def test_the_choice_of_a_tool(fields: dict[str, Any], responses: Any, chat: Any) -> None:
    prompt = Prompt(model="m", entries=[], tools=[ADD], provider_tools=[{"type": "web_search"}], **fields)
    assert responses_tools(prompt).get("tool_choice") == responses
    assert chat_tools(prompt).get("tool_choice") == chat


IMAGE = ImageAttachment(id="i", name="a.png", mime_type="image/png", preview_url="https://example.org/i")
PDF = FileAttachment(id="p", name="a.pdf", mime_type="application/pdf")
TEXT = FileAttachment(id="t", name="a.txt", mime_type="text/plain; charset=utf-8")
BROKEN = FileAttachment(id="b", name="b.txt", mime_type="text/plain")
GONE = FileAttachment(id="g", name="g.pdf", mime_type="application/pdf")


def test_attachments_are_images_files_or_text_and_what_is_gone_is_left_out() -> None:
    message = Message("user", "Look", (IMAGE, PDF, TEXT, BROKEN, GONE))
    files = {"i": b"png", "p": b"pdf", "t": "é".encode(), "b": b"\xff"}
    prompt = Prompt(model="m", entries=[message], files=files)
    [asked] = responses_input(prompt)
    assert asked["content"] == [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "data:image/png;base64,cG5n"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        {"type": "input_text", "text": "[a.txt]\né"},
        {"type": "input_file", "filename": "b.txt", "file_data": "data:text/plain;base64,/w=="},
    ]
    [asked] = chat_messages(prompt)
    assert asked["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        },
        {"type": "text", "text": "[a.txt]\né"},
        {"type": "file", "file": {"filename": "b.txt", "file_data": "data:text/plain;base64,/w=="}},
    ]
