"""A turn that has ended, in its final form: what is told when the journal has nothing of it any more."""

from __future__ import annotations

from typing import Any

from bobbin_gateway.turns.log import EventLog
from bobbin_protocol.items import for_client
from bobbin_protocol.sse import encode_event
from bobbin_protocol.store.turns import TurnResult
from bobbin_protocol.threads import thread_for_client
from bobbin_protocol.wire import encode_json


class FinalSource:
    """The items of a turn, each in one event. Only the last event has a number: that of the turn's last.

    Who loses the connection before it begins again with the first, which does no harm: the items are whole.
    """

    def __init__(self, result: TurnResult) -> None:
        self.turn_id = result.turn.id
        self.log = EventLog()
        self._event_count = result.turn.event_count or 0
        for event in _events(result):
            self.log.append(encode_event(encode_json(event)))
        self.log.secure(len(self.log.frames))
        self.log.end()

    def enter(self, *, resumable: bool) -> None:
        """Nothing to count."""

    def leave(self) -> None:
        """Nothing to count."""

    def position(self, after: int) -> int | None:
        """From the beginning, unless there is nothing left to tell."""
        if after > self._event_count > 0:
            return None
        return len(self.log.frames) if after and after == self._event_count else 0

    def render(self, first: int, frames: list[bytes], *, numbered: bool) -> bytes:
        """The frames as they are, but for the last one's number."""
        del first
        if numbered and frames and self._event_count:
            number = b"id: %b:%d\n" % (self.turn_id.encode(), self._event_count)
            frames = [*frames[:-1], number + frames[-1]]
        return b"".join(frames)


def _events(result: TurnResult) -> list[Any]:
    thread = thread_for_client(result.thread)
    begin = [{"type": "thread.created", "thread": thread}] if result.created_thread else []
    done = [{"type": "thread.item.done", "item": for_client(item)} for item in result.items]
    end = [{"type": "thread.updated", "thread": thread}]
    return [*begin, *done, *end, *_error(result)]


def _error(result: TurnResult) -> list[Any]:
    if result.turn.state in {"completed", "cancelled"}:
        return []
    return [{"type": "error", "code": "stream.error", "allow_retry": True}]
