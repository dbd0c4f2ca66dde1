"""Streams of the Chat Completions dialect (platform.openai.com/docs/api-reference/chat-streaming).

Many servers speak it, each in its own way: what they were seen to send is what is accepted here. A stream is
whole when it said why it finished, or ended with ``[DONE]``: some servers never send the one or the other.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.openai_agent.calls import arguments_text
from bobbin_gateway.openai_agent.chat_calls import CallPiece, ChatCalls, Function
from bobbin_gateway.openai_agent.citations import (
    chat_annotation_of,
    fields_of,
    items_of,
    search_results,
    text_of,
)
from bobbin_gateway.openai_agent.images import image_url
from bobbin_protocol.events import ThreadStreamEvent

_LEGACY = -1
"""Index of the one call that the dialect knew before it had ``tool_calls``."""


class ChatReader:
    """Reads one streamed completion. All of its text is one message."""

    __slots__ = ("_answer", "_calls", "_cited", "_thinks", "_thoughts")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._calls = ChatCalls(answer.work.calls.written)
        self._thoughts = 0
        self._thinks = False
        self._cited: tuple[bytes, bytes] = (b"", b"")

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        chunk = _decode_chunk(data)
        if chunk.usage is not None:
            self._answer.count(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if chunk.error or chunk.object == "error":
            raise failures.from_stream(chunk.error or _decode_object(data))
        events: list[ThreadStreamEvent] = []
        for choice in chunk.choices or []:
            if not choice.index:
                events = self._read_choice(choice)
                break
        if chunk.search_results or chunk.citations:
            events += self._cite(bytes(chunk.search_results), bytes(chunk.citations))
        return events

    def _read_choice(self, choice: _Choice) -> list[ThreadStreamEvent]:
        answer, delta = self._answer, choice.delta
        if choice.finish_reason:
            answer.whole = True
            answer.cut_short = _CUT_SHORT.get(choice.finish_reason) or answer.cut_short
        if delta is None:
            return []
        thinks = delta.reasoning_content or delta.reasoning or delta.reasoning_details
        events = self._think(delta) if thinks else []
        if isinstance(delta.content, list):
            events += self._read_parts(delta.content)
        elif text := delta.content or delta.refusal:
            self._thinks = False
            said = answer.say(0, 0, text)
            events = events + said if events else said
        if delta.tool_calls or delta.function_call:
            events += self._call(delta)
        if delta.annotations or delta.images:
            events += self._show(delta)
        return events

    def _think(self, delta: _Delta) -> list[ThreadStreamEvent]:
        """Thoughts, which every server calls differently, and some in two ways at once."""
        text = text_of(delta.reasoning_content) or text_of(delta.reasoning)
        if not text:
            details = map(fields_of, items_of(delta.reasoning_details))
            text = "".join(
                text_of(detail.get("text")) or text_of(detail.get("summary")) for detail in details
            )
        return self._add_thought(text)

    def _add_thought(self, text: str) -> list[ThreadStreamEvent]:
        if not text:
            return []
        if not self._thinks:
            self._thinks, self._thoughts = True, self._thoughts + 1
        return self._answer.work.think(0, f"thought {self._thoughts}", text)

    def _read_parts(self, parts: list[Any]) -> list[ThreadStreamEvent]:
        """Content as a list of pieces of text and of thoughts (Mistral)."""
        events: list[ThreadStreamEvent] = []
        for part in map(fields_of, parts):
            if part.get("type") == "text" and (text := text_of(part.get("text"))):
                self._thinks = False
                events += self._answer.say(0, 0, text)
            elif part.get("type") == "thinking":
                thinking = part.get("thinking")
                pieces = (text_of(fields_of(piece).get("text")) for piece in items_of(thinking))
                events += self._add_thought(text_of(thinking) or "".join(pieces))
        return events

    def _call(self, delta: _Delta) -> list[ThreadStreamEvent]:
        self._thinks = False
        pieces = delta.tool_calls or []
        if delta.function_call:
            pieces = [*pieces, CallPiece(index=_LEGACY, function=delta.function_call)]
        events: list[ThreadStreamEvent] = []
        for position, piece in enumerate(pieces):
            placed = self._calls.place(piece, position, len(pieces))
            if placed is not None:
                arguments = arguments_text(piece.function.arguments) if piece.function else ""
                events += self._answer.work.call(
                    placed.place, call_id=piece.id or "", name=placed.name, arguments=arguments
                )
        return events

    def _show(self, delta: _Delta) -> list[ThreadStreamEvent]:
        """Sources and images (OpenRouter)."""
        answer, events = self._answer, list[ThreadStreamEvent]()
        for citation in items_of(delta.annotations):
            events += answer.annotate(0, 0, chat_annotation_of(citation))
        for image in map(fields_of, items_of(delta.images)):
            answer.acted = True
            events += answer.add_image(image_url(fields_of(image.get("image_url")).get("url")))
        return events

    def _cite(self, results: bytes, urls: bytes) -> list[ThreadStreamEvent]:
        """Sources that come with the whole of the answer, most often again in every chunk."""
        if (results, urls) == self._cited:
            return []
        self._cited = results, urls
        found = search_results(_decode_any(results or b"null"), _decode_any(urls or b"null"))
        return [event for annotation in found for event in self._answer.annotate(0, 0, annotation)]


def whole_text(body: bytes) -> str:
    """The text of a completion that was not streamed.

    Raises:
        msgspec.DecodeError: The body is no such completion.
    """
    choices = _decode_chunk(body).choices or []
    return "".join(_text(choice.message.content) for choice in choices[:1] if choice.message is not None)


_CUT_SHORT: dict[str, CutShort] = {"length": "length", "content_filter": "content_filter"}


class _Delta(Struct, gc=False):
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    """DeepSeek, xAI."""
    reasoning: Any = None
    """Groq, Ollama, OpenRouter."""
    reasoning_details: Any = None
    """OpenRouter."""
    tool_calls: list[CallPiece] | None = None
    function_call: Function | None = None
    annotations: Any = None
    images: Any = None


class _Choice(Struct, gc=False):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    """Instead of the delta, in a completion that is not streamed. Perplexity sends both."""
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


_NOTHING = Raw()


class _Chunk(Struct, gc=False):
    object: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    search_results: Raw = _NOTHING
    """Perplexity."""
    citations: Raw = _NOTHING
    """Perplexity, xAI."""


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def _text(content: str | list[Any] | None) -> str:
    if isinstance(content, list):
        parts = map(fields_of, content)
        return "".join(text_of(part.get("text")) for part in parts if part.get("type") == "text")
    return content or ""
