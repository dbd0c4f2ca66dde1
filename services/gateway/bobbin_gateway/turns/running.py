"""A turn while this process runs it: its log, its items as they stand, its followers, its end."""

from __future__ import annotations

import asyncio

import msgspec

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.log import EventLog, Follower
from bobbin_gateway.turns.outcome import Outcome, OutputTooLarge
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
from bobbin_protocol.items import AssistantMessageItem, HiddenContextItem, SDKHiddenContextItem
from bobbin_protocol.pages import Page
from bobbin_protocol.requests import Title
from bobbin_protocol.sse import encode_event
from bobbin_protocol.threads import Thread, ThreadMetadata
from bobbin_protocol.wire import encode_json


class RunningTurn:
    """The engine's view of a turn. Events go in by `emit`; followers read them from `log`."""

    def __init__(self, turn: Turn, max_output_bytes: int) -> None:
        self.turn = turn
        self._max_output_bytes = max_output_bytes
        self.log = EventLog()
        self.items = ItemFold()
        self.stopped: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        """Done when someone wants the turn to end before its agent does; holds why."""
        self.followers = 0
        self.task: asyncio.Task[None] | None = None
        self.suggested_title: str | None = None
        self._sent_thread = _snapshot(turn.thread)
        self.stored_thread = _snapshot(turn.thread)
        """The thread as the store knows it."""

    def open(self, *, created: bool, said: ThreadItemDoneEvent | None) -> None:
        """Emit what every stream begins with, in the reference's order."""
        if created:
            self._append(ThreadCreatedEvent(thread=thread_for_client(self.turn.thread)))
        if said is not None:
            self._append(said)
        self._append(StreamOptionsEvent(stream_options=StreamOptions(allow_cancel=True)))

    def emit(self, event: ThreadStreamEvent) -> None:
        """Take in one event of the agent: fold it, number it, encode it, show it to the followers.

        Raises:
            OutputTooLarge: With it the answer would be too large to store.
            Exception: It cannot be encoded.
        """
        frame = _frame(event)  # first, so that what cannot be sent is never stored either
        if self.log.size + len(frame) > self._max_output_bytes:
            raise OutputTooLarge
        self._take(event, frame)

    def _take(self, event: ThreadStreamEvent, frame: bytes) -> None:
        self.items.apply(event)
        if isinstance(event, ThreadItemUpdatedEvent):
            self.log.append(frame)
            return
        if not _is_hidden(event):
            self.log.append(frame)
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
        self.log.append(_frame(event))

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
        """Nothing more will come."""
        if last_word is not None:
            self._append(last_word)
        self.log.end()

    def rename(self, title: str) -> None:
        """The user gave the thread a name meanwhile: it stays."""
        for thread in (self.turn.thread, self._sent_thread, self.stored_thread):
            thread.title = title

    def stop(self, reason: Outcome) -> None:
        """End the turn early, keeping what was said; without effect once the agent is done."""
        if not self.stopped.done():
            self.stopped.set_result(reason)

    def follow(self, keepalive_s: float) -> Follower:
        """A new reader of all events; give it back to the engine when it leaves."""
        self.followers += 1
        return Follower(self.log, keepalive_s)


def thread_for_client(thread: ThreadMetadata) -> Thread:
    """The thread as an event shows it: no items, and no metadata, which is for the server side only."""
    return Thread(
        id=thread.id,
        title=thread.title,
        created_at=thread.created_at,
        status=thread.status,
        allowed_image_domains=thread.allowed_image_domains,
        items=Page(),
    )


def _frame(event: ThreadStreamEvent) -> bytes:
    return encode_event(encode_json(event))


def _snapshot(thread: ThreadMetadata) -> ThreadMetadata:
    """A copy that stays as it is when an agent changes the thread, or its metadata in place."""
    return msgspec.convert(msgspec.to_builtins(thread), ThreadMetadata)


def _is_hidden(event: ThreadStreamEvent) -> bool:
    return isinstance(
        event, ThreadItemAddedEvent | ThreadItemDoneEvent | ThreadItemReplacedEvent
    ) and isinstance(event.item, HiddenContextItem | SDKHiddenContextItem)
