"""Reads a response so that it can be read on over another connection, or by another process; free of I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent.answer import Answer, AnswerState
from bobbin_gateway.openai_agent.responses_reader import ResponsesReader
from bobbin_gateway.openai_agent.work import Titles
from bobbin_protocol.events import ThreadItemUpdatedEvent, ThreadStreamEvent
from bobbin_protocol.items import ThreadItem
from bobbin_protocol.sse import SSEParser
from bobbin_protocol.updates import AssistantMessageContentPartTextDelta


class Checkpoint(Struct, frozen=True, array_like=True):
    """`agent.Turn.checkpoint` as this agent makes it."""

    response_id: str
    position: int
    answer: AnswerState


class ResumableReader:
    """Reads a response and keeps count of its events.

    Attributes:
        answer: What it says.
        response_id: The provider's name for it; None: not known (yet), or of no use.
        position: The number of the last event that was read; -1: none.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.response_id: str | None = None
        self.position = -1
        self._skipped = -1
        self._saying: tuple[str, int] | None = None
        self._state = _UNKNOWN
        self._reader = ResponsesReader(answer)

    @classmethod
    def restored(
        cls,
        turn: Turn,
        said: Sequence[ThreadItem],
        checkpoint: Checkpoint,
        titles: Titles = lambda _: None,
    ) -> ResumableReader:
        """The reader as it was at the checkpoint.

        Raises:
            LookupError: The items do not belong to the checkpoint.
        """
        reader = cls(Answer.restored(turn, checkpoint.answer, said, titles))
        reader.response_id, reader.position = checkpoint.response_id, checkpoint.position
        return reader

    @property
    def can_resume(self) -> bool:
        """Whether the provider can be asked for what comes next."""
        return self.response_id is not None and self.position >= 0

    def checkpoint(self) -> bytes | None:
        """Where to go on, unless that is impossible or, at the answer's end, not needed.

        The event that ends an answer is never behind a checkpoint: so a resumed answer gets to see it.
        """
        if self.response_id is None or self.position < 0 or self.answer.over:
            return None
        if not self._state:
            self._state = Raw(_encode(self.answer.state()))
        return _encode((self.response_id, self.position, self._state))

    def skip_to_position(self) -> None:
        """Pass over what has been read, should the provider send it again."""
        self._skipped = self.position

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        """Take in the data of one server-sent event, see `stream.Reader`."""
        head = _decode_head(data)
        number = head.sequence_number
        if number is not None and number <= self._skipped:
            return []
        self.response_id = self.response_id or head.response_id
        events = self._reader.read(data)
        saying = _said(events)
        if saying is None or saying != self._saying:
            # One more piece of the same text changes nothing but the text.
            self._saying, self._state = saying, _UNKNOWN
        if number is not None:
            self.position = number
        return events


def first_event(head: bytes) -> EventHead | None:
    """The first event of a body that begins like this, which names the response; None: it is still to come.

    Keep-alives may come before it, while the provider is busy.
    """
    try:
        events = [_decode_head(event.data) for event in SSEParser().feed(head) if event.data]
    except msgspec.DecodeError:
        return EventHead()  # for the reader to complain of
    return next((event for event in events if event.type != "keepalive"), None)


_UNKNOWN = Raw()


def _said(events: list[ThreadStreamEvent]) -> tuple[str, int] | None:
    """Where a piece of text was said, if that is all that happened."""
    if len(events) != 1:
        return None
    event = events[0]
    if type(event) is ThreadItemUpdatedEvent and type(event.update) is AssistantMessageContentPartTextDelta:
        return event.item_id, event.update.content_index
    return None


class _Response(Struct):
    id: str | None = None
    background: bool | None = None


class EventHead(Struct):
    """What the events of all kinds have in common."""

    type: str = ""
    sequence_number: int | None = None
    response: _Response | None = None

    @property
    def response_id(self) -> str | None:
        """The response's name, unless the provider has no background mode and will not know it again."""
        return None if self.response is None or self.response.background is False else self.response.id


_decode_head = msgspec.json.Decoder(EventHead).decode
_encode = msgspec.msgpack.Encoder().encode
decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
