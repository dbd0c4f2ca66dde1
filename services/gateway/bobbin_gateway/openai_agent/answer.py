"""What the model has said and done so far in this turn, and the events that tell it.

Free of I/O and of dialects. Invariants:

* An assistant message appears (``thread.item.added``) with its first text, so an empty one never does.
* Its texts add up: the deltas of a part, joined, are the text of its ``content_part.done`` and of the item.
* Ids are ours. The provider's ids change between events of one item, or repeat; items and parts are told
  apart by their position (``output_index``, ``content_index``).
* Steps stand in a workflow that is closed before the next message or image, unless a tool of ours still runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.images import Images
from bobbin_gateway.openai_agent.messages import Message, OpenMessage
from bobbin_gateway.openai_agent.work import Titles, Work, WorkState
from bobbin_gateway.steps import Steps
from bobbin_gateway.tools.tool import ToolCall
from bobbin_protocol.events import NoticeEvent, ThreadStreamEvent
from bobbin_protocol.items import Annotation, AssistantMessageItem, ThreadItem
from bobbin_protocol.store.turns import Usage

CutShort: TypeAlias = Literal["length", "content_filter", "other"]
"""Why the model stopped before it was done."""


class AnswerState(Struct, frozen=True, array_like=True):
    """What an answer needs to be continued elsewhere, beside the items that it has made."""

    said_something: bool
    acted: bool
    open: list[OpenMessage]
    heard: list[str] = []
    waiting: list[tuple[int, int, Annotation]] = []
    work: WorkState = WorkState()
    images: list[tuple[int, str]] = []
    has_images: bool = False
    partial_images: int = 0
    usage: Usage | None = None


class Answer:
    """The answer of one turn, in the making, over as many rounds as the model is asked.

    Attributes:
        usage: What the provider counted in all rounds, as far as it said so.
        whole: Whether the provider has said that the round is at its end.
        over: Whether it has said that nothing else follows either.
        cut_short: Why it is not whole, when it is not.
        acted: Whether the model gave something else than text: an image, or calls in an earlier round.
        said_something: Whether there was any text.
        heard: Kinds of items that the provider told of in this round; ``message`` once it had any text.
        work: What the model does besides speaking.
        images: The images that it makes.
    """

    __slots__ = (
        "_open",
        "_turn",
        "_usage_before",
        "_waiting",
        "acted",
        "cut_short",
        "heard",
        "images",
        "over",
        "said_something",
        "usage",
        "whole",
        "work",
    )

    def __init__(self, turn: Turn, titles: Titles = lambda _: None) -> None:
        self.usage: Usage | None = None
        self.whole = False
        self.over = False
        self.cut_short: CutShort | None = None
        self.acted = False
        self.said_something = False
        self.heard: set[str] = set()
        self.work = Work(turn, titles)
        self.images = Images(turn)
        self._turn = turn
        self._usage_before: Usage | None = None
        self._open: dict[int, Message] = {}
        self._waiting: list[tuple[int, int, Annotation]] = []

    @classmethod
    def restored(
        cls, turn: Turn, state: AnswerState, items: Sequence[ThreadItem], titles: Titles = lambda _: None
    ) -> Answer:
        """The answer as it was when `state` was taken and it had made these items.

        Raises:
            LookupError: They do not belong together.
        """
        answer = cls(turn, titles)
        answer.said_something, answer.acted = state.said_something, state.acted
        answer.heard, answer._waiting = set(state.heard), list(state.waiting)
        answer.usage = answer._usage_before = state.usage
        messages = {item.id: item for item in items if isinstance(item, AssistantMessageItem)}
        for message in state.open:
            answer._open[message.output_index] = Message.restored(messages[message.item_id], message.parts)
        answer.work = Work.restored(turn, titles, state.work, items)
        answer.images.restore(state.images, items)
        answer.images.any, answer.images.partial_images = state.has_images, state.partial_images
        return answer

    def state(self) -> AnswerState:
        """What `restored` needs; only of an answer that has not been said to be at its end."""
        return AnswerState(
            said_something=self.said_something,
            acted=self.acted,
            open=[message.state(output_index) for output_index, message in self._open.items()],
            heard=sorted(self.heard),
            waiting=list(self._waiting),
            work=self.work.state(),
            images=self.images.state(),
            has_images=self.images.any,
            partial_images=self.images.partial_images,
            usage=self._usage_before,
        )

    def is_flowing(self) -> bool:
        """Whether the user reads: first words are waited for, and so is the end; all between is only read."""
        return self.said_something and not self.over

    @property
    def steps(self) -> Steps:
        """The open workflow. Tools of ours show there how their calls go, by the ids of these."""
        return self.work.steps

    @property
    def calls(self) -> list[ToolCall]:
        """The calls that the model asks for in this round, in order."""
        return self.work.calls.made()

    @property
    def has_images(self) -> bool:
        """Whether there are pictures in the turn, whose addresses may hold them whole."""
        return self.images.any

    def say(self, output_index: int, content_index: int, text: str) -> list[ThreadStreamEvent]:
        """Add text to a part of a message."""
        if not text:
            return []
        message = self._open.get(output_index)
        return message.say(content_index, text) if message else self._begin(output_index, content_index, text)

    def _begin(self, output_index: int, content_index: int, text: str) -> list[ThreadStreamEvent]:
        self.said_something = True
        self.heard.add("message")
        events = self.work.fold()
        message = self._open[output_index] = Message.new(self._turn)
        return events + message.say(content_index, text) + self._annotate_waiting(output_index)

    def settle(self, output_index: int, content_index: int, text: str) -> list[ThreadStreamEvent]:
        """Close a part whose text the provider states as a whole; what of it was not said yet is said now."""
        message = self._open.get(output_index)
        said = message.text(content_index) if message else ""
        rest = text[len(said) :] if text.startswith(said) else ""
        events = self.say(output_index, content_index, rest)
        message = self._open.get(output_index)
        if message is None:
            return events
        return events + self._annotate_waiting(output_index) + message.close_part(content_index)

    def is_open(self, output_index: int) -> bool:
        """Whether the message has said something, and is not closed."""
        return output_index in self._open

    def annotate(
        self, output_index: int, content_index: int, annotation: Annotation | None
    ) -> list[ThreadStreamEvent]:
        """Add an annotation once there is the text that it stands behind; at the end if that never comes."""
        if annotation is None:
            return []
        message = self._open.get(output_index)
        if message is not None and message.reaches(content_index, annotation):
            return message.annotate(content_index, annotation)
        waiting = (output_index, content_index, annotation)
        if waiting not in self._waiting:
            self._waiting.append(waiting)
        return []

    def _annotate_waiting(self, output_index: int, *, at_end: bool = False) -> list[ThreadStreamEvent]:
        message, events = self._open[output_index], list[ThreadStreamEvent]()
        waiting, self._waiting = self._waiting, []
        for index, content_index, annotation in waiting:
            if index == output_index and (at_end or message.reaches(content_index, annotation)):
                events += message.annotate(content_index, annotation)
            else:
                self._waiting.append((index, content_index, annotation))
        return events

    def close(self, output_index: int) -> list[ThreadStreamEvent]:
        """Give the message in its final form."""
        if output_index not in self._open:
            return []
        events = self._annotate_waiting(output_index, at_end=True)
        return events + self._open.pop(output_index).close()

    def begin_image(self, output_index: int) -> list[ThreadStreamEvent]:
        """Show that an image is being made."""
        if self.images.is_open(output_index):
            return []
        return self.work.fold() + self.images.begin(output_index)

    def show_image(self, output_index: int, url: str | None, number: int) -> list[ThreadStreamEvent]:
        """Show one of the states of an image, by its number from 0."""
        if url is None:
            return []
        return self.begin_image(output_index) + self.images.show(output_index, url, number)

    def end_image(self, output_index: int, url: str | None) -> list[ThreadStreamEvent]:
        """Show an image in its final form; the user is told if there is none."""
        if url is None:
            notice = NoticeEvent(level="warning", message="The model service did not make the image.")
            return [*self.images.end(output_index, None), notice]
        return self.begin_image(output_index) + self.images.end(output_index, url)

    def add_image(self, url: str | None) -> list[ThreadStreamEvent]:
        """Show an image that comes whole."""
        return [] if url is None else self.work.fold() + self.images.add(url)

    def count(self, input_tokens: int | None, output_tokens: int | None) -> None:
        """Take down what the provider counted in this round, in place of what it said of it before."""
        before = self._usage_before or Usage(input_tokens=0, output_tokens=0)
        self.usage = Usage(
            input_tokens=before.input_tokens + max(0, input_tokens or 0),
            output_tokens=before.output_tokens + max(0, output_tokens or 0),
        )

    def next_round(self) -> None:
        """Make ready for what the model says to the results of its calls."""
        self.whole = self.over = False
        self.cut_short = None
        self.heard.clear()
        self.acted = True
        self._usage_before = self.usage
        self._open.clear()
        self._waiting.clear()
        self.work.next_round()

    def finish(self) -> list[ThreadStreamEvent]:
        """End the round, as the provider's stream has ended; if the model asks for no calls, the answer.

        Raises:
            AgentError: The stream broke off, or held nothing for the user.
        """
        if not self.whole:
            raise failures.broken_off()
        if not (self.said_something or self.acted or self.calls):
            raise failures.no_answer(self.cut_short)
        events = [event for index in list(self._open) for event in self.close(index)]
        events += self.images.end_all()
        if self.calls:
            return events + self.work.show_heard()
        events += self.work.close()
        if self.cut_short is not None:
            events.append(NoticeEvent(level="warning", message=_NOTICES[self.cut_short]))
        return events

    def break_off(self) -> list[ThreadStreamEvent]:
        """Give what was held back, and leave no step or image that seems to go on: the answer has failed."""
        return self.images.end_all() + self.work.close()


_NOTICES: dict[CutShort, str] = {
    "length": "The answer ends here because it reached the model's length limit.",
    "content_filter": "The answer was cut off by the model service's content filter.",
    "other": "The model ended its answer early.",
}
