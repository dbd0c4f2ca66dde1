"""The Chat Completions dialect (platform.openai.com/docs/api-reference/chat-streaming).

Many servers speak it, each in its own way: what they were seen to send is what is accepted here. A stream is
whole when it said why it finished, or ended with ``[DONE]``: some servers never send the one or the other.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.openai_agent.prompt import Message, Prompt, chat_messages, chat_tools
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.wire import encode_json


class ChatCompletions:
    """Requests to ``/chat/completions``, and what comes back."""

    path = "/chat/completions"
    in_background = False

    def __init__(self) -> None:
        # Without it the tokens used stay unknown; a few servers refuse what they do not know.
        self._extra: dict[str, Any] = {"stream_options": {"include_usage": True}}

    def request(self, prompt: Prompt) -> bytes:
        return encode_json(
            {
                "model": prompt.model,
                "messages": chat_messages(prompt),
                "stream": True,
                **self._extra,
                **chat_tools(prompt),
            }
        )

    def short_request(self, *, model: str, instructions: str, text: str) -> bytes:
        """A request for a short text, not streamed.

        Its length has no limit: the parameter's name differs between models, and the wrong one is an error.
        """
        prompt = Prompt(model=model, instructions=instructions, entries=[Message("user", text)])
        return encode_json({"model": model, "messages": chat_messages(prompt)})

    def short_text(self, body: bytes) -> str:
        """The text of a completion that was not streamed.

        Raises:
            msgspec.DecodeError: The body is no such completion.
        """
        choices = _decode_chunk(body).choices or []
        return "".join(_text(choice.message.content) for choice in choices[:1] if choice.message is not None)

    def reader(self, answer: Answer) -> ChatReader:
        return ChatReader(answer)

    def adapt(self, refusal: str) -> bool:
        """Leave out of later requests what a provider refused; whether that was possible."""
        if "stream_options" not in refusal:
            return False
        self._extra = {}
        return True


class ChatReader:
    """Reads one streamed completion."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        chunk = _decode_chunk(data)
        if chunk.usage is not None:
            self._answer.usage = Usage(
                input_tokens=chunk.usage.prompt_tokens or 0, output_tokens=chunk.usage.completion_tokens or 0
            )
        if chunk.error or chunk.object == "error":
            raise failures.from_stream(chunk.error or _decode_object(data))
        events: list[ThreadStreamEvent] = []
        for choice in chunk.choices or []:
            if not choice.index:
                events += self._read_choice(choice)
        return events

    def _read_choice(self, choice: _Choice) -> list[ThreadStreamEvent]:
        answer, delta = self._answer, choice.delta
        if choice.finish_reason:
            answer.whole = True
            answer.cut_short = _CUT_SHORT.get(choice.finish_reason) or answer.cut_short
        if delta is None:
            return []
        if delta.tool_calls or delta.function_call:
            answer.acted = True
        text = delta.content if isinstance(delta.content, str) else _text(delta.content)
        return answer.say(0, 0, text or delta.refusal or "")


_CUT_SHORT: dict[str, CutShort] = {"length": "length", "content_filter": "content_filter"}


class _Part(Struct):
    """A piece of content; kinds other than text (Mistral's thinking) have no text of their own."""

    type: str = ""
    text: str | None = None


class _Delta(Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[Raw] | None = None
    function_call: dict[str, Any] | None = None


class _Choice(Struct):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    """Instead of the delta, in a completion that is not streamed. Perplexity sends both."""
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(Struct):
    object: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text or "" for part in content if part.type == "text")
    return content or ""
