"""The events of one turn, encoded once, read by any number of followers.

Event numbers start at 1. A frame is appended and never changed, so that a follower is no more than
a position; nothing a follower does, or fails to do, holds up the turn or another follower.

Events become *safe* in their order, once the store has them: then no crash can take them back. A follower
that may come back for the rest, here or elsewhere, is shown safe events only.
"""

from __future__ import annotations

import asyncio

from bobbin_gateway.watchdog import Watchdog


class EventLog:
    """An append-only list of SSE frames, with a way to wait for more."""

    __slots__ = ("_waiting", "_waiting_safely", "ended", "farewell", "frames", "moved", "safe", "size")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.size = 0
        """Bytes in all frames."""
        self.safe = 0
        """Number of the last event that the store has."""
        self.ended = False
        self.moved = False
        """The log has ended, but not the turn: another process goes on with it."""
        self.farewell = b""
        """A frame without a number, for those that read to the end of a log which nobody can read on."""
        self._waiting: list[asyncio.Future[None]] = []
        self._waiting_safely: list[asyncio.Future[None]] = []

    def append(self, frame: bytes) -> None:
        """Add the next event."""
        self.frames.append(frame)
        self.size += len(frame)
        if self._waiting:
            self._waiting = _wake(self._waiting)

    def secure(self, number: int) -> None:
        """Say that the store has the events up to this one."""
        if number > self.safe:
            self.safe = number
            self._waiting_safely = _wake(self._waiting_safely)

    def end(self, *, farewell: bytes = b"", moved: bool = False) -> None:
        """Say that nothing more will come."""
        self.ended, self.farewell, self.moved = True, farewell, moved
        self._waiting = _wake(self._waiting)
        self._waiting_safely = _wake(self._waiting_safely)

    def change(self, *, safely: bool) -> asyncio.Future[None]:
        """A future that is done when there is more to read, or nothing any more."""
        future = asyncio.get_running_loop().create_future()
        (self._waiting_safely if safely else self._waiting).append(future)
        return future

    @property
    def has_safe_reader(self) -> bool:
        """Whether someone waits for events to become safe."""
        return bool(self._waiting_safely)


def _wake(waiting: list[asyncio.Future[None]]) -> list[asyncio.Future[None]]:
    for future in waiting:
        if not future.done():
            future.set_result(None)
    return []


class Follower:
    """One reader of a log, at its own speed. Leave it when done: it holds a timer."""

    __slots__ = ("_change", "_keepalive_s", "_left", "_silence", "log", "position", "safely")

    def __init__(self, log: EventLog, keepalive_s: float, after: int = 0, *, safely: bool = False) -> None:
        """Start after event number `after`.

        Args:
            log: What to read.
            keepalive_s: How long `read` waits for an event.
            after: Number of the last event that is not wanted.
            safely: Read safe events only.
        """
        self.log = log
        self.safely = safely
        self._keepalive_s = keepalive_s
        self._silence = Watchdog(keepalive_s, self._stop_waiting)
        self._change: asyncio.Future[None] | None = None
        self._left = False
        self.position = after
        """Number of the last event read."""

    def leave(self) -> None:
        """Stop reading, now; safe to call from a callback, and again."""
        self._left = True
        self._silence.cancel()
        self._stop_waiting()

    async def read(self) -> list[bytes] | None:
        """All frames that are ready.

        Returns:
            None of them when the keep-alive time went by without an event; None at the end of the log, or
            after `leave`.
        """
        if not (self._left or self.log.ended or self.position < self._end()):
            self._silence.renew(self._keepalive_s)
            self._change = self.log.change(safely=self.safely)
            await self._change
            self._change = None
        if self._left:
            return None
        first, end = self.position, self._end()
        if first < end:
            self.position = end
            return self.log.frames[first:end]
        return None if self.log.ended else []

    def _end(self) -> int:
        return self.log.safe if self.safely else len(self.log.frames)

    def _stop_waiting(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)
