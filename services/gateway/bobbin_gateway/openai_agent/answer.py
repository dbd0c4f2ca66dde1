"""What the model has said so far in this turn, and the events that tell it; free of I/O and of dialects.

Invariants:

* An assistant message appears (``thread.item.added``) with its first text, so an empty one never does.
* Its texts add up: the deltas of a part, joined, are the text of its ``content_part.done`` and of the item.
* Ids are ours. The provider's ids change between events of one item, or repeat; items and parts are told
  apart by their position (``output_index``, ``content_index``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import failures
from bobbin_protocol.events import (
    NoticeEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import AssistantMessageContent, AssistantMessageItem, ThreadItem
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.updates import (
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
)

CutShort: TypeAlias = Literal["length", "content_filter", "other"]
"""Why the model stopped before it was done."""


class OpenMessage(Struct, frozen=True, array_like=True):
    """A message that is not closed: where the provider has it, and which item of ours it is."""

    output_index: int
    item_id: str
    parts: list[tuple[int, bool]]
    """Of each part, in our order: the provider's index, and whether it is closed."""


class AnswerState(Struct, frozen=True, array_like=True):
    """What an answer needs to be continued elsewhere, beside the items that it has made."""

    said_something: bool
    acted: bool
    open: list[OpenMessage]


class Answer:
    """The answer of one turn, in the making.

    Attributes:
        usage: What the provider counted, as far as it said so.
        whole: Whether the provider has said that the answer is at its end.
        over: Whether it has said that nothing else follows either.
        cut_short: Why it is not whole, when it is not.
        acted: Whether the model gave something else than text: a call of a tool, an image.
        said_something: Whether there was any text.
    """

    def __init__(self, turn: Turn) -> None:
        self.usage: Usage | None = None
        self.whole = False
        self.over = False
        self.cut_short: CutShort | None = None
        self.acted = False
        self.said_something = False
        self._turn = turn
        self._open: dict[int, _Message] = {}

    @classmethod
    def restored(cls, turn: Turn, state: AnswerState, items: Sequence[ThreadItem]) -> Answer:
        """The answer as it was when `state` was taken and it had made these items.

        Raises:
            LookupError: They do not belong together.
        """
        answer = cls(turn)
        answer.said_something, answer.acted = state.said_something, state.acted
        messages = {item.id: item for item in items if isinstance(item, AssistantMessageItem)}
        for message in state.open:
            answer._open[message.output_index] = _Message.restored(messages[message.item_id], message.parts)
        return answer

    def state(self) -> AnswerState:
        """What `restored` needs; only of an answer that has not been said to be at its end."""
        return AnswerState(
            self.said_something,
            self.acted,
            [message.state(output_index) for output_index, message in self._open.items()],
        )

    def say(self, output_index: int, content_index: int, text: str) -> list[ThreadStreamEvent]:
        """Add text to a part of a message."""
        if not text:
            return []
        message = self._open.get(output_index)
        if message is None:
            self.said_something = True
            message = self._open[output_index] = _Message.new(self._turn)
        return message.say(content_index, text)

    def settle(self, output_index: int, content_index: int, text: str) -> list[ThreadStreamEvent]:
        """Close a part whose text the provider states as a whole; what of it was not said yet is said now."""
        message = self._open.get(output_index)
        said = message.text(content_index) if message else ""
        rest = text[len(said) :] if text.startswith(said) else ""
        events = self.say(output_index, content_index, rest)
        message = self._open.get(output_index)
        return events + message.close_part(content_index) if message else events

    def is_open(self, output_index: int) -> bool:
        """Whether the message has said something, and is not closed."""
        return output_index in self._open

    def close(self, output_index: int) -> list[ThreadStreamEvent]:
        """Give the message in its final form."""
        message = self._open.pop(output_index, None)
        return message.close() if message else []

    def finish(self) -> list[ThreadStreamEvent]:
        """End the answer, as the provider's stream has ended.

        Raises:
            AgentError: The stream broke off, or held nothing for the user.
        """
        if not self.whole:
            raise failures.broken_off()
        events = [event for index in list(self._open) for event in self.close(index)]
        if not self.said_something and not self.acted:
            raise failures.no_answer(self.cut_short)
        if self.cut_short is not None:
            events.append(NoticeEvent(level="warning", message=_NOTICES[self.cut_short]))
        return events


class _Part:
    """A piece of a message; `index` is its place in our item."""

    __slots__ = ("closed", "index", "texts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.texts: list[str] = []
        self.closed = False

    def content(self) -> AssistantMessageContent:
        return AssistantMessageContent(text="".join(self.texts))


class _Message:
    """An assistant message in the making."""

    def __init__(self, item_id: str, thread_id: str, created_at: datetime) -> None:
        self._id = item_id
        self._thread_id = thread_id
        self._created_at = created_at
        self._parts: dict[int, _Part] = {}  # by the provider's index, in order of appearance

    @classmethod
    def new(cls, turn: Turn) -> _Message:
        return cls(turn.new_id("message"), turn.thread.id, datetime.now(UTC))

    @classmethod
    def restored(cls, item: AssistantMessageItem, parts: Sequence[tuple[int, bool]]) -> _Message:
        message = cls(item.id, item.thread_id, item.created_at)
        for index, (content_index, closed) in enumerate(parts):
            part = message._parts[content_index] = _Part(index)
            part.texts.append(item.content[index].text)
            part.closed = closed
        return message

    def state(self, output_index: int) -> OpenMessage:
        parts = [(content_index, part.closed) for content_index, part in self._parts.items()]
        return OpenMessage(output_index, self._id, parts)

    def say(self, content_index: int, text: str) -> list[ThreadStreamEvent]:
        part = self._parts.get(content_index)
        events = [] if part else self._open_part(content_index)
        part = part or self._parts[content_index]
        part.texts.append(text)
        part.closed = False
        delta = AssistantMessageContentPartTextDelta(content_index=part.index, delta=text)
        events.append(ThreadItemUpdatedEvent(item_id=self._id, update=delta))
        return events

    def _open_part(self, content_index: int) -> list[ThreadStreamEvent]:
        events: list[ThreadStreamEvent] = []
        if not self._parts:
            events.append(ThreadItemAddedEvent(item=self._item()))
        part = self._parts[content_index] = _Part(len(self._parts))
        added = AssistantMessageContentPartAdded(content_index=part.index, content=part.content())
        events.append(ThreadItemUpdatedEvent(item_id=self._id, update=added))
        return events

    def text(self, content_index: int) -> str:
        part = self._parts.get(content_index)
        return "".join(part.texts) if part else ""

    def close_part(self, content_index: int) -> list[ThreadStreamEvent]:
        part = self._parts.get(content_index)
        if part is None or part.closed:
            return []
        part.closed = True
        done = AssistantMessageContentPartDone(content_index=part.index, content=part.content())
        return [ThreadItemUpdatedEvent(item_id=self._id, update=done)]

    def close(self) -> list[ThreadStreamEvent]:
        events = [event for index in self._parts for event in self.close_part(index)]
        return [*events, ThreadItemDoneEvent(item=self._item())]

    def _item(self) -> AssistantMessageItem:
        return AssistantMessageItem(
            id=self._id,
            thread_id=self._thread_id,
            created_at=self._created_at,
            content=[part.content() for part in self._parts.values()],
        )


_NOTICES: dict[CutShort, str] = {
    "length": "The answer ends here because it reached the model's length limit.",
    "content_filter": "The answer was cut off by the model service's content filter.",
    "other": "The model ended its answer early.",
}
