"""From the bytes of a model's stream to the events of an answer; free of I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.sse import EventTooLarge, SSEParser

_HEAD_SIZE = 512
"""Bytes of a body kept for the log, in case it turns out not to be an event stream."""


class Reader(Protocol):
    """Reads one dialect."""

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        """Take in the data of one server-sent event.

        Raises:
            AgentError: It tells of a failure.
            msgspec.DecodeError: It is not what the dialect has there.
        """
        ...


class ModelStream:
    """The body of one streamed response. Its events do not depend on how the body is cut into chunks."""

    __slots__ = ("_answer", "_head", "_is_sse", "_parser", "_reader")

    def __init__(self, answer: Answer, reader: Reader) -> None:
        self._answer = answer
        self._reader = reader
        self._parser = SSEParser()
        self._head = b""
        self._is_sse = False

    def feed(self, chunk: bytes) -> Iterator[list[ThreadStreamEvent]]:
        """Take in the next bytes; give what each event of the provider's that they complete has to say.

        What comes before a failure is given first, with what was held back till then.

        Raises:
            AgentError: The provider tells of a failure, or what it sends can't be read.
        """
        if not self._is_sse and len(self._head) < _HEAD_SIZE:
            self._head += chunk[:_HEAD_SIZE]
        try:
            for event in self._parser.feed(chunk):
                yield self._read(event.data)
        except (AgentError, EventTooLarge, msgspec.DecodeError) as error:
            yield self._answer.break_off()
            if isinstance(error, AgentError):
                raise
            raise failures.unreadable(f"bad event: {error}") from error

    def finish(self) -> Iterator[ThreadStreamEvent]:
        """End the stream as the body has ended, and give what was still to be said.

        Raises:
            AgentError: The answer is not whole, there is none, or the body was no event stream.
        """
        try:
            for event in self._parser.finish():
                yield from self._read(event.data)
            if not self._is_sse:
                raise self._not_sse()
            yield from self._answer.finish()
        except (AgentError, msgspec.DecodeError) as error:
            yield from self._answer.break_off()
            if isinstance(error, AgentError):
                raise
            raise failures.broken_off(f"the stream ended within an event: {error}") from error

    def _read(self, data: bytes) -> list[ThreadStreamEvent]:
        if not self._is_sse:
            self._is_sse, self._head = True, b""
        if self._answer.over:
            return []
        if data[:6] == b"[DONE]":
            self._answer.whole = self._answer.over = True
            return []
        return self._reader.read(data) if data else []

    def _not_sse(self) -> AgentError:
        try:
            body = _decode_object(self._head)
        except msgspec.DecodeError:
            body = {}
        if "error" in body:
            return failures.from_stream(body)
        return failures.unreadable(f"not an event stream: {self._head!r}")


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
