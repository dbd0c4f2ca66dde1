"""A turn while this process runs it: its log, its items as they stand, its readers, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.outcome import LOST, Outcome, OutputTooLarge
from bobbin_gateway.turns.source import NumberedSource
from bobbin_gateway.turns.tail import Tail
from bobbin_protocol.events import (
    ErrorEvent,
    StreamOptions,
    StreamOptionsEvent,
    ThreadCreatedEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    ThreadUpdatedEvent,
)
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import (
    AssistantMessageItem,
    HiddenContextItem,
    SDKHiddenContextItem,
    ThreadItem,
    UserMessageItem,
)
from bobbin_protocol.requests import Title
from bobbin_protocol.sse import encode_event
from bobbin_protocol.threads import ActiveStatus, ThreadMetadata, ThreadStatus, thread_for_client
from bobbin_protocol.wire import encode_json
from bobbin_telemetry import tracing


class RunningTurn(NumberedSource):
    """The engine's view of a turn. Events go in by `emit`; followers read them from `log`."""

    __slots__ = (
        "_deserted",
        "_ended",
        "_hidden_size",
        "_max_output_bytes",
        "_sent_thread",
        "_told_status",
        "answers",
        "asked_at",
        "counted",
        "deserted",
        "items",
        "joined_by",
        "keep_early",
        "log",
        "losses",
        "lost",
        "outlives_readers",
        "readers",
        "span",
        "stopped",
        "stored_thread",
        "suggested_title",
        "tail",
        "turn",
        "turn_id",
    )

    def __init__(
        self, turn: Turn, tail: Tail, max_output_bytes: int, deserted: Callable[[RunningTurn], None]
    ) -> None:
        """Prepare a turn.

        Args:
            turn: What its agent sees.
            tail: Its part in the journal.
            max_output_bytes: Most bytes of its events.
            deserted: To be called when its last reader has left before its end.
        """
        self.turn = turn
        self.turn_id = turn.id
        self.tail = tail
        self.log = tail.log
        self._max_output_bytes = max_output_bytes
        self._deserted = deserted
        self.items = ItemFold()
        self.stopped: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        """Done when someone wants the turn to end before its agent does; holds why."""
        self.readers = 0
        self.outlives_readers = False
        """Whether it goes on without readers: one of them may come back."""
        self.deserted: bool | None = None
        """What its end has to say of it: whether its last reader was lost; None if the store knows."""
        self.losses = 0
        """How often its last reader was lost."""
        self.joined_by: str | None = None
        """Who was the last to come by sending their request again."""
        self.keep_early: Callable[[ThreadItem], None] | None = None
        """What to do at once with a hidden item that is done (`turns.early`)."""
        self.asked_at: float | None = None
        """When its request came, if it came here."""
        self.answers = False
        """Whether its agent has begun to answer."""
        self.counted = 0
        """How many of its events are counted in the metrics."""
        self._hidden_size = 0
        self.lost = False
        """Whether it is another gateway's by now: nothing of it may be stored from here."""
        self.span = tracing.NOTHING
        """Of the turn as it runs here."""
        self._ended: asyncio.Future[None] = self.stopped.get_loop().create_future()
        self.suggested_title: str | None = None
        self._sent_thread = _snapshot(turn.thread)
        self._told_status: ThreadStatus = ActiveStatus()  # as of every thread in which a turn begins
        self.stored_thread = _snapshot(turn.thread)
        """The thread as the store knows it."""

    def open(self, *, created: bool, said: UserMessageItem | None, answered: ThreadItem | None) -> None:
        """Emit what every stream begins with, in the reference's order; all of it is stored already.

        Args:
            created: Whether the turn's thread is a new one.
            said: The message that came with the turn.
            answered: The questions whose answers came with it.
        """
        if created:
            self._append(ThreadCreatedEvent(thread=thread_for_client(self.turn.thread)))
        if said is not None:
            self._append(ThreadItemDoneEvent(item=said))
        self._append(StreamOptionsEvent(stream_options=StreamOptions(allow_cancel=True)))
        if answered is not None:
            self._append(ThreadItemReplacedEvent(item=answered))

    def emit(self, event: ThreadStreamEvent) -> None:
        """Take in one event of the agent: fold it, number it, encode it, show it to the followers.

        Raises:
            OutputTooLarge: With it the answer would be too large to store.
            Exception: It cannot be encoded.
        """
        self.tail.mark()
        frame = _frame(event)  # first, so that what cannot be sent is never stored either
        if self.log.size + self._hidden_size + len(frame) > self._max_output_bytes:
            raise OutputTooLarge
        self._take(event, frame)

    def _take(self, event: ThreadStreamEvent, frame: bytes) -> None:
        self.items.apply(event)
        if isinstance(event, ThreadItemUpdatedEvent):
            self.tail.append(frame)
            return
        if _is_hidden(event):
            self._hidden_size += len(frame)
            if self.keep_early is not None and isinstance(event, ThreadItemDoneEvent):
                self.keep_early(event.item)
        else:
            self.tail.append(frame)
        self.emit_thread_change()

    def emit_thread_change(self) -> None:
        """Tell the followers if the agent changed the thread. What is no JSON is undone, and raises."""
        if self.turn.thread == self._sent_thread:
            return
        try:
            changed = _snapshot(self.turn.thread)
            msgspec.convert(changed.title, Title | None)
        except Exception:
            self.turn.thread = _snapshot(self._sent_thread)
            raise
        self._sent_thread = changed
        self._append(ThreadUpdatedEvent(thread=thread_for_client(changed)))

    def _append(self, event: ThreadStreamEvent) -> None:
        self.tail.append(_frame(event))

    def settle(self) -> None:
        """Finish what the agent left unfinished: a message stays as far as it got.

        Other unfinished items, and messages that say nothing, are dropped, as in the reference.
        """
        for item in self.items.pending():
            if isinstance(item, AssistantMessageItem) and any(part.text.strip() for part in item.content):
                done = ThreadItemDoneEvent(item=item)
                self._take(done, _frame(done))

    def suggest(self, title: str | None) -> None:
        """Name the thread, unless someone else has by the time the turn is stored."""
        self.suggested_title = self.turn.thread.title = title
        self.emit_thread_change()

    def tell(self, error: ErrorEvent) -> None:
        """Say to the followers what went wrong."""
        self._append(error)

    def close(self, last_word: ErrorEvent | None = None) -> None:
        """Nothing more will come from here.

        Args:
            last_word: What to say to the readers, though it is not part of the turn: it could not be stored.
        """
        self.log.end(farewell=b"" if last_word is None else _frame(last_word), moved=self.lost)
        if not self._ended.done():
            self._ended.set_result(None)

    async def ends_within(self, wait_s: float) -> bool:
        """Wait until the turn is over here, stored or not; no longer than that."""
        done, _ = await asyncio.wait([self._ended], timeout=wait_s)
        return bool(done)

    def adopt(self, thread: ThreadMetadata) -> None:
        """Take in what the turn had said of its thread before it came here.

        Someone else may have changed the rest since: so only what an agent has set counts.
        """
        own, sent = self.turn.thread, self._sent_thread
        if own.title is None and thread.title is not None:
            self.suggested_title = own.title = sent.title = thread.title
        if thread.status != self._told_status:
            self._told_status = own.status = sent.status = thread.status
        if thread.allowed_image_domains is not None:
            own.allowed_image_domains = sent.allowed_image_domains = thread.allowed_image_domains

    def rename(self, title: str) -> None:
        """The user gave the thread a name meanwhile: it stays."""
        for thread in (self.turn.thread, self._sent_thread, self.stored_thread):
            thread.title = title

    def stop(self, reason: Outcome) -> None:
        """End the turn early, keeping what was said; without effect once the agent is done."""
        if not self.stopped.done():
            self.stopped.set_result(reason)

    def lose(self) -> None:
        """Let go of the turn: it is another gateway's."""
        self.lost = self.turn.handed_over = True
        self.stop(LOST)

    def enter(self, *, resumable: bool) -> None:
        """Count one more reader."""
        self.readers += 1
        if resumable:
            self.outlives_readers = self.tail.wanted = True
            self.tail.hurry()
        if self.losses:
            self.deserted = False

    def leave(self) -> None:
        """Count one less."""
        self.readers -= 1
        if self.readers == 0 and not self.log.ended:
            self._deserted(self)


def _frame(event: ThreadStreamEvent) -> bytes:
    return encode_event(encode_json(event))


def _snapshot(thread: ThreadMetadata) -> ThreadMetadata:
    """A copy that stays as it is when an agent changes the thread, or its metadata in place."""
    return msgspec.convert(msgspec.to_builtins(thread), ThreadMetadata)


def _is_hidden(event: ThreadStreamEvent) -> bool:
    return isinstance(
        event, ThreadItemAddedEvent | ThreadItemDoneEvent | ThreadItemReplacedEvent
    ) and isinstance(event.item, HiddenContextItem | SDKHiddenContextItem)
