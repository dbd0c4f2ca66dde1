"""Where a turn's events can be read: in this process, from the journal, or in their final form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from bobbin_gateway.turns.log import EventLog, Follower


class Source(Protocol):
    """A turn that can be read."""

    @property
    def turn_id(self) -> str: ...

    @property
    def log(self) -> EventLog: ...

    def enter(self, *, resumable: bool) -> None:
        """Count one more reader; a resumable one may lose its connection without ending the turn."""
        ...

    def leave(self) -> None:
        """Count one less."""
        ...

    def position(self, after: int) -> int | None:
        """Where in the log to begin for a reader that has events up to `after`; None: it cannot have them."""
        ...

    def render(self, first: int, frames: list[bytes], *, numbered: bool) -> bytes:
        """The frames after position `first` as they are sent."""
        ...


class NumberedSource:
    """The position in the log is the number of the event: how all sources but the final form do it."""

    __slots__ = ()

    turn_id: str
    log: EventLog

    def position(self, after: int) -> int | None:
        return after if after <= len(self.log.frames) else None

    def render(self, first: int, frames: list[bytes], *, numbered: bool) -> bytes:
        if not numbered:
            return b"".join(frames)
        return b"".join(
            b"id: %b:%d\n%b" % (self.turn_id.encode(), number, frame)
            for number, frame in enumerate(frames, first + 1)
        )


class Observed(NumberedSource):
    """A turn that runs in this process, for a reader that does not count as one."""

    def __init__(self, source: Source) -> None:
        self.turn_id = source.turn_id
        self.log = source.log

    def enter(self, *, resumable: bool) -> None:
        """Nothing to count."""

    def leave(self) -> None:
        """Nothing to count."""


class Joined:
    """A turn that runs elsewhere, for a reader who has sent their request again; entered already."""

    def __init__(self, source: Source, lost: Callable[[], None]) -> None:
        """Pass on all, and call `lost` when the reader leaves before the turn's end."""
        self._source = source
        self._lost = lost
        self.turn_id = source.turn_id
        self.log = source.log
        self.enter = source.enter
        self.position = source.position
        self.render = source.render

    def leave(self) -> None:
        """Count one less."""
        self._source.leave()
        if not self.log.ended:
            self._lost()


class TurnReader:
    """One reader of a turn, wherever the turn runs, and when it moves."""

    __slots__ = ("_follower", "_keepalive_s", "_left", "_reopen", "_resumable", "_source")

    def __init__(
        self,
        source: Source,
        keepalive_s: float,
        *,
        position: int = 0,
        resumable: bool = False,
        reopen: Callable[[int], Awaitable[Source]],
    ) -> None:
        """Read until `leave`.

        Args:
            source: The turn, entered.
            keepalive_s: How long `read` waits for an event.
            position: Where in the source's log to begin.
            resumable: Show safe events only, with their numbers; and go on where the turn goes on.
            reopen: Find the turn again after it has moved, for someone who has read so far, and enter it.
        """
        self._source = source
        self._keepalive_s = keepalive_s
        self._resumable = resumable
        self._reopen = reopen
        self._left = False
        self._follower = self._follow(source, position)

    @property
    def turn_id(self) -> str:
        return self._source.turn_id

    async def read(self) -> bytes | None:
        """What is ready to be sent.

        Returns:
            Nothing (``b""``) when the keep-alive time went by; None at the end, or after `stop`.

        Raises:
            StoreRefused, StoreUnavailable: The turn has moved and cannot be found again.
        """
        frames = await self.read_frames()
        if frames is None:
            return None
        first = self._follower.position - len(frames)
        return self._source.render(first, frames, numbered=self._resumable)

    @property
    def position(self) -> int:
        """Of the last frame read, in the log of the turn as it is read now."""
        return self._follower.position

    @property
    def has_all(self) -> bool:
        """Whether the turn has ended: what is left can be read at once."""
        return self._source.log.ended and not self._source.log.moved

    async def read_frames(self) -> list[bytes] | None:
        """The same as frames; none of them when the keep-alive time went by."""
        while True:
            frames = await self._follower.read()
            if frames is not None:
                return frames
            if self._left or not self._goes_on_elsewhere:
                return None
            await self._move()

    @property
    def _goes_on_elsewhere(self) -> bool:
        """Whether there is more to read elsewhere, and this reader knows from where on.

        Without a farewell the log was of a turn elsewhere, too, and all in it was safe.
        """
        log = self._source.log
        return log.moved and (self._resumable or not log.farewell)

    @property
    def farewell(self) -> bytes:
        """What is left to say when there is nothing more to read."""
        return b"" if self._left else self._source.log.farewell

    async def _move(self) -> None:
        source = await self._reopen(self._follower.position)
        position = source.position(self._follower.position)
        self._source.leave()
        self._source = source
        self._follower = self._follow(source, len(source.log.frames) if position is None else position)

    def _follow(self, source: Source, position: int) -> Follower:
        follower = Follower(source.log, self._keepalive_s, position, safely=self._resumable)
        if self._left:
            follower.leave()
        return follower

    def stop(self) -> None:
        """Read no more; safe to call from a callback."""
        self._left = True
        self._follower.leave()

    def leave(self) -> None:
        """Be no reader any more."""
        self.stop()
        self._source.leave()
