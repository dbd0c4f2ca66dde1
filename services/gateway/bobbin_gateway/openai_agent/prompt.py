"""What a model is asked, and how each dialect writes it down; free of I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from bobbin_gateway.tools.memory import ToolExchange
from bobbin_gateway.tools.tool import ToolSpec
from bobbin_protocol.attachments import Attachment, ImageAttachment


class Message(Struct, frozen=True):
    """One message of a model's input."""

    role: Literal["user", "assistant"]
    text: str
    attachments: tuple[Attachment, ...] = ()


Entry: TypeAlias = Message | ToolExchange


class Prompt(Struct, frozen=True, kw_only=True):
    """One question to a model."""

    model: str
    entries: Sequence[Entry]
    """Oldest first."""
    instructions: str = ""
    files: Mapping[str, bytes] = {}
    """The bytes of attachments, by their ids; those that are missing are told by name only."""
    tools: Sequence[ToolSpec] = ()
    provider_tools: Sequence[dict[str, Any]] = ()
    """Tools that run at the provider, in the dialect's own words."""
    tool_choice: str | None = None
    """The tool to use; None: as the model likes."""
    may_call: bool = True
    """Whether the model may use tools at all: not when it has used them for long enough."""
    options: Mapping[str, Any] = {}
    """Further fields of the request, in the dialect's own words."""
    goes_on_from: str | None = None
    """The provider's name of a response that it keeps, which this one goes on from (Responses only)."""


def responses_input(prompt: Prompt) -> list[dict[str, Any]]:
    """The entries as ``input`` of the Responses API."""
    items: list[dict[str, Any]] = []
    for entry in prompt.entries:
        if isinstance(entry, Message):
            content = _responses_content(entry, prompt.files) if entry.attachments else entry.text
            items.append({"role": entry.role, "content": content})
            continue
        items += [
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            for call in entry.calls
        ]
        items += [
            {"type": "function_call_output", "call_id": result.call_id, "output": result.output}
            for result in entry.results
        ]
    return items


def responses_tools(prompt: Prompt) -> dict[str, Any]:
    """The tools, and which of them to use, as fields of a request to the Responses API."""
    functions = [
        {
            "type": "function",
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
            "strict": False,  # a strict schema may leave nothing out, and ours has defaults
        }
        for spec in prompt.tools
    ]
    tools = [*functions, *prompt.provider_tools]
    if not tools:
        return {}
    return {"tools": tools, **_choice(prompt, {"type": "function", "name": prompt.tool_choice})}


def chat_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The entries as ``messages`` of Chat Completions, instructions first."""
    messages: list[dict[str, Any]] = []
    if prompt.instructions:
        messages.append({"role": "system", "content": prompt.instructions})
    for entry in prompt.entries:
        if isinstance(entry, Message):
            content = _chat_content(entry, prompt.files) if entry.attachments else entry.text
            messages.append({"role": entry.role, "content": content})
            continue
        calls = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in entry.calls
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": result.call_id, "content": result.output}
            for result in entry.results
        ]
    return messages


def chat_tools(prompt: Prompt) -> dict[str, Any]:
    """The tools, and which of them to use, as fields of a request to Chat Completions."""
    functions = [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": spec.parameters},
        }
        for spec in prompt.tools
    ]
    tools = [*functions, *prompt.provider_tools]
    if not tools:
        return {}
    function = {"type": "function", "function": {"name": prompt.tool_choice}}
    return {"tools": tools, **_choice(prompt, function)}


def _choice(prompt: Prompt, function: dict[str, Any]) -> dict[str, Any]:
    choice = prompt.tool_choice
    if not prompt.may_call:
        return {"tool_choice": "none"}
    if any(spec.name == choice for spec in prompt.tools):
        return {"tool_choice": function}
    if any(tool.get("type") == choice for tool in prompt.provider_tools):
        return {"tool_choice": {"type": choice}}
    return {}


def _responses_content(message: Message, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for kind, name, value in _parts(message, files):
        match kind:
            case "text":
                parts.append({"type": "input_text", "text": value})
            case "image":
                parts.append({"type": "input_image", "image_url": value})
            case "file":
                parts.append({"type": "input_file", "filename": name, "file_data": value})
    return parts


def _chat_content(message: Message, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for kind, name, value in _parts(message, files):
        match kind:
            case "text":
                parts.append({"type": "text", "text": value})
            case "image":
                parts.append({"type": "image_url", "image_url": {"url": value}})
            case "file":
                parts.append({"type": "file", "file": {"filename": name, "file_data": value}})
    return parts


def _parts(
    message: Message, files: Mapping[str, bytes]
) -> Iterator[tuple[Literal["text", "image", "file"], str, str]]:
    """What a message consists of: kind, name, and the text, or the address that holds the bytes."""
    yield "text", "", message.text
    for attachment in message.attachments:
        data = files.get(attachment.id)
        if data is None:
            continue
        if isinstance(attachment, ImageAttachment):
            yield "image", attachment.name, _data_url(attachment, data)
        elif text := _text_of(attachment, data):
            yield "text", attachment.name, text
        else:
            yield "file", attachment.name, _data_url(attachment, data)


def _data_url(attachment: Attachment, data: bytes) -> str:
    media_type = attachment.mime_type.partition(";")[0].strip()
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _text_of(attachment: Attachment, data: bytes) -> str | None:
    """A text file as text: not every model takes files, and none needs to decode one."""
    media_type = attachment.mime_type.partition(";")[0].strip().lower()
    if not (media_type.startswith("text/") or media_type in _TEXTS):
        return None
    try:
        return f"[{attachment.name}]\n{data.decode()}"
    except UnicodeDecodeError:
        return None


_TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
