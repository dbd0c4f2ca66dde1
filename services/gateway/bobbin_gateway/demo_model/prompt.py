"""A request of either dialect, reduced to what the answer depends on."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

_NOTE = re.compile(r"\[.*\]", re.DOTALL)
"""A paragraph that tells the model something about the conversation, as Bobbin's history does."""


class Part(msgspec.Struct):
    """A piece of a message's content; the kinds without text (images, files) have an empty one."""

    text: str | None = None


class Message(msgspec.Struct):
    """A message of the input; other kinds of input items (function calls, reasoning) have no role."""

    role: str | None = None
    content: str | list[Part] | None = None
    type: str | None = None
    output: str | None = None
    """Of a ``function_call_output``."""

    @property
    def result(self) -> str | None:
        """What a tool gave, in either dialect; None if this is no such thing."""
        if self.type == "function_call_output":
            return self.output or ""
        return self.text if self.role == "tool" else None

    @property
    def text(self) -> str:
        """All its text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text or "" for part in self.content or ())


class Function(msgspec.Struct):
    """A function as Chat Completions describes it."""

    name: str = ""
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    """A tool in either dialect; those that run at the provider have no name."""

    type: str | None = None
    name: str = ""
    parameters: dict[str, Any] | None = None
    function: Function | None = None

    @property
    def properties(self) -> dict[str, Any]:
        """The schema of each parameter."""
        found: Any = (self.parameters or {}).get("properties")
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def required(self) -> list[str]:
        """The parameters that a call must have."""
        found: Any = (self.parameters or {}).get("required")
        return [str(name) for name in cast("list[Any]", found)] if isinstance(found, list) else []


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Request(msgspec.Struct):
    """Fields of both dialects: `instructions` and `input` of Responses, `messages` of Chat Completions."""

    model: str
    stream: bool | None = False
    background: bool | None = False
    store: bool | None = True
    instructions: str | None = None
    input: str | list[Message] | None = None
    messages: list[Message] | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None

    @property
    def offered(self) -> list[Tool]:
        """The functions that may be called."""
        if self.tool_choice == "none":
            return []
        tools = [tool.function or tool for tool in self.tools or () if tool.type == "function"]
        return [Tool("function", tool.name, tool.parameters) for tool in tools if tool.name]

    @property
    def chosen(self) -> str | None:
        """The function that must be called."""
        match self.tool_choice:
            case {"function": {"name": str() as name}} | {"name": str() as name}:
                return name
            case _:
                return None

    @property
    def conversation(self) -> list[Message]:
        """All messages, oldest first."""
        if isinstance(self.input, str):
            return [Message("user", self.input)]
        return self.input or self.messages or []

    @property
    def system(self) -> str:
        """All instructions."""
        told = [message.text for message in self.conversation if message.role in {"system", "developer"}]
        return "\n".join([self.instructions or "", *told])

    @property
    def questions(self) -> list[str]:
        """The user's messages, oldest first."""
        return [_spoken(message.text) for message in self.conversation if message.role == "user"]

    @property
    def said(self) -> str | None:
        """What the last user message orders to say."""
        last = self.questions[-1] if self.questions else ""
        return last.removeprefix("say:") if last.startswith("say:") else None

    @property
    def results(self) -> list[list[str]]:
        """What tools gave since the last user message: of each round of calls, in order."""
        rounds: list[list[str]] = []
        goes_on = False
        for message in self.conversation:
            if message.role == "user":
                rounds, goes_on = [], False
            elif message.result is None:
                goes_on = False
            else:
                if not goes_on:
                    rounds.append([])
                rounds[-1].append(message.result)
                goes_on = True
        return rounds

    @property
    def tokens(self) -> int:
        """An estimate of its size: a token per four characters."""
        return (len(self.system) + sum(len(message.text) for message in self.conversation)) // 4 + 1

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


def _spoken(text: str) -> str:
    """A user's message without notes before and after it, unless there is nothing else."""
    if text.startswith("say:"):
        return text
    paragraphs = text.split("\n\n")
    spoken = [place for place, paragraph in enumerate(paragraphs) if not _NOTE.fullmatch(paragraph)]
    return "\n\n".join(paragraphs[spoken[0] : spoken[-1] + 1]) if spoken else text


decode_request = msgspec.json.Decoder(Request).decode
