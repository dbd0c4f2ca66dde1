"""An assistant message in the making, and the events that tell it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import Annotation, AssistantMessageContent, AssistantMessageItem
from bobbin_protocol.updates import (
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartAnnotationAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
)

_MOST_ANNOTATIONS = 500
"""Of one part; a model that cites more is out of its mind."""


class OpenMessage(Struct, frozen=True, array_like=True):
    """A message that is not closed: where the provider has it, and which item of ours it is."""

    output_index: int
    item_id: str
    parts: list[tuple[int, bool]]
    """Of each part, in our order: the provider's index, and whether it is closed."""


class Message:
    """One message; its parts are told apart by the provider's index of them."""

    __slots__ = ("_created_at", "_id", "_parts", "_thread_id")

    def __init__(self, item_id: str, thread_id: str, created_at: datetime) -> None:
        self._id = item_id
        self._thread_id = thread_id
        self._created_at = created_at
        self._parts: dict[int, _Part] = {}  # by the provider's index, in order of appearance

    @classmethod
    def new(cls, turn: Turn) -> Message:
        return cls(turn.new_id("message"), turn.thread.id, datetime.now(UTC))

    @classmethod
    def restored(cls, item: AssistantMessageItem, parts: Sequence[tuple[int, bool]]) -> Message:
        """The message as it was when it was this item.

        Raises:
            LookupError: They do not belong together.
        """
        message = cls(item.id, item.thread_id, item.created_at)
        for index, (content_index, closed) in enumerate(parts):
            part = message._parts[content_index] = _Part(index)
            part.texts.append(item.content[index].text)
            part.annotations += item.content[index].annotations
            part.closed = closed
        return message

    def state(self, output_index: int) -> OpenMessage:
        parts = [(content_index, part.closed) for content_index, part in self._parts.items()]
        return OpenMessage(output_index, self._id, parts)

    def say(self, content_index: int, text: str) -> list[ThreadStreamEvent]:
        """Add text to a part."""
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
        """What the part says by now."""
        part = self._parts.get(content_index)
        return part.text() if part else ""

    def reaches(self, content_index: int, annotation: Annotation) -> bool:
        """Whether there is already the text that the annotation stands behind."""
        part = self._parts.get(content_index)
        return part is not None and (annotation.index or 0) <= len(part.text())

    def annotate(self, content_index: int, annotation: Annotation) -> list[ThreadStreamEvent]:
        """Add an annotation to a part, at its end if its place lies beyond, unless it is there already."""
        part = self._parts.get(content_index)
        if part is None:
            return []
        if annotation.index is not None:
            annotation = replace(annotation, index=min(max(0, annotation.index), len(part.text())))
        if annotation in part.annotations or len(part.annotations) >= _MOST_ANNOTATIONS:
            return []
        added = AssistantMessageContentPartAnnotationAdded(
            content_index=part.index, annotation_index=len(part.annotations), annotation=annotation
        )
        part.annotations.append(annotation)
        part.closed = False
        return [ThreadItemUpdatedEvent(item_id=self._id, update=added)]

    def close_part(self, content_index: int) -> list[ThreadStreamEvent]:
        """Give the part in its final form, unless that was done."""
        part = self._parts.get(content_index)
        if part is None or part.closed:
            return []
        part.closed = True
        done = AssistantMessageContentPartDone(content_index=part.index, content=part.content())
        return [ThreadItemUpdatedEvent(item_id=self._id, update=done)]

    def close(self) -> list[ThreadStreamEvent]:
        """Give the message in its final form."""
        events = [event for index in self._parts for event in self.close_part(index)]
        return [*events, ThreadItemDoneEvent(item=self._item())]

    def _item(self) -> AssistantMessageItem:
        return AssistantMessageItem(
            id=self._id,
            thread_id=self._thread_id,
            created_at=self._created_at,
            content=[part.content() for part in self._parts.values()],
        )


class _Part:
    """A piece of a message; `index` is its place in our item."""

    __slots__ = ("annotations", "closed", "index", "texts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.texts: list[str] = []
        self.annotations: list[Annotation] = []
        self.closed = False

    def text(self) -> str:
        if len(self.texts) > 1:
            self.texts = ["".join(self.texts)]
        return self.texts[0] if self.texts else ""

    def content(self) -> AssistantMessageContent:
        return AssistantMessageContent(text=self.text(), annotations=list(self.annotations))
