"""The events of one turn, encoded once, read by any number of followers.

Event numbers start at 1. A frame is appended and never changed, so that a follower is no more than
a position; nothing a follower does, or fails to do, holds up the turn or another follower.
"""

from __future__ import annotations

import asyncio

from bobbin_gateway.turns.watchdog import Watchdog


class EventLog:
    """An append-only list of SSE frames, with a way to wait for more."""

    __slots__ = ("_waiting", "ended", "frames", "size")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.size = 0
        """Bytes in all frames."""
        self.ended = False
        self._waiting: list[asyncio.Future[None]] = []

    def append(self, frame: bytes) -> None:
        """Add the next event."""
        self.frames.append(frame)
        self.size += len(frame)
        self._wake()

    def end(self) -> None:
        """Say that nothing more will come."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def change(self) -> asyncio.Future[None]:
        """A future that is done when the log grows or ends."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future


class Follower:
    """One reader of a log, at its own speed. Leave it when done: it holds a timer."""

    __slots__ = ("_change", "_keepalive_s", "_left", "_log", "_silence", "position")

    def __init__(self, log: EventLog, keepalive_s: float, after: int = 0) -> None:
        """Start after event number `after`.

        Args:
            log: What to read.
            keepalive_s: How long `read` waits for an event.
            after: Number of the last event that is not wanted.
        """
        self._log = log
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

    async def read(self) -> bytes | None:
        """All frames that are ready, in one piece.

        Returns:
            Nothing (``b""``) when the keep-alive time went by without an event; None at the end of the log,
            or after `leave`.
        """
        if not self._ready():
            self._silence.renew(self._keepalive_s)
            self._change = self._log.change()
            await self._change
            self._change = None
        if self._left:
            return None
        frames = self._log.frames
        if self.position < len(frames):
            first, self.position = self.position, len(frames)
            return frames[first] if self.position - first == 1 else b"".join(frames[first:])
        return None if self._log.ended else b""

    def _ready(self) -> bool:
        return self._left or self._log.ended or self.position < len(self._log.frames)

    def _stop_waiting(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)
