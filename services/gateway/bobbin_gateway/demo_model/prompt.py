"""A request of either dialect, reduced to what the answer depends on."""

from __future__ import annotations

import msgspec


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
        return [message.text for message in self.conversation if message.role == "user"]

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


decode_request = msgspec.json.Decoder(Request).decode
