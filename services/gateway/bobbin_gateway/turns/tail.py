"""The end of a turn's log that the journal lacks."""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import Final, Protocol

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.log import EventLog
from bobbin_protocol.store.journal import JournalChunk, JournalEntry

MOST_BYTES: Final = 1024 * 1024
"""Of events in one chunk, unless it is a single one."""


class Writer(Protocol):
    """Writes the tails of all turns of the process to the journal (`turns.journal.Journal`)."""

    def grew(self, tail: Tail, size: int) -> None:
        """A tail is longer by so many bytes (or shorter, if negative)."""
        ...

    def hurry(self) -> None:
        """Someone waits for events to be safe."""
        ...


class Tail:
    """One turn's part in the journal: what it has, what is on its way there, what is still to come."""

    __slots__ = (
        "_checkpoint",
        "_checkpointed",
        "_noted",
        "_pending",
        "_turn",
        "_unsafe",
        "_writer",
        "closed",
        "gateway_id",
        "log",
        "owner_id",
        "turn_id",
        "waiting",
        "wanted",
    )

    def __init__(self, turn: Turn, gateway_id: str, writer: Writer) -> None:
        self.owner_id = turn.owner_id
        self.turn_id = turn.id
        self._turn = turn
        self.gateway_id = gateway_id
        """Under whose lease the turn is."""
        self.log = EventLog()
        self.waiting = False
        """The writer's own mark: whether it knows already that there is something to write."""
        self.wanted = False
        """Whether the journal is to have the turn's events even if the turn ends before the first write."""
        self.closed = False
        self._writer = writer
        self._pending: JournalEntry | None = None
        self._unsafe = 0
        self._checkpoint: bytes | None = None
        self._checkpointed = 0
        self._noted: bytes | None = None
        """The last checkpoint that the store has."""

    def append(self, frame: bytes) -> None:
        """Add the next event."""
        self.log.append(frame)
        self._unsafe += len(frame)
        self._writer.grew(self, len(frame))

    def mark(self) -> None:
        """Note where another gateway's agent would go on after the events so far, if the agent has said so.

        For a turn that has checkpoints, the journal takes the events up to the last one only.
        """
        checkpoint = self._turn.checkpoint
        if checkpoint is not None and checkpoint is not self._checkpoint:
            self._checkpoint = checkpoint
            self._checkpointed = len(self.log.frames)

    def hurry(self) -> None:
        """Someone waits for the events to be safe."""
        if self.log.safe < len(self.log.frames):
            self._writer.hurry()

    def entry(self) -> JournalEntry | None:
        """What to write now: what was sent before and may not have arrived, else what is new."""
        self.mark()
        if self._pending is None and (self.log.safe < self._end() or self._checkpoint is not self._noted):
            last = self._last_that_fits()
            self._pending = JournalEntry(
                owner_id=self.owner_id,
                turn_id=self.turn_id,
                chunk=self._chunk(self.log.safe, last),
                checkpoint=self._checkpoint if last == self._end() else self._noted,
            )
        return self._pending

    def _last_that_fits(self) -> int:
        """The last event of the next chunk: one too large for the store would hold up those of all turns."""
        first, end = self.log.safe, self._end()
        if self._unsafe > MOST_BYTES:
            sizes = accumulate(map(len, self.log.frames[first:end]))
            fitting = sum(1 for _ in takewhile(MOST_BYTES.__ge__, sizes))
            return min(end, first + max(1, fitting))
        return end

    @property
    def has_silent_checkpoint(self) -> bool:
        """Whether the agent has come to a new checkpoint, perhaps without a word."""
        return not self.closed and self._turn.checkpoint is not self._noted

    def confirm(self) -> bool:
        """The journal has what `entry` gave. Whether there is more to write by now."""
        if self._pending is not None:
            self.log.secure(self._pending.chunk.last)
            self._shrink(len(self._pending.chunk.data))
            self._noted = self._pending.checkpoint
            self._pending = None
        return self.log.safe < self._end()

    def _end(self) -> int:
        return len(self.log.frames) if self._checkpoint is None else self._checkpointed

    def close(self) -> list[JournalChunk]:
        """Write no more; give what the journal lacks, unless it has nothing and nobody wants it to."""
        self.closed = True
        if self.log.safe == 0 and self._pending is None and not self.wanted:
            return []
        sent = None if self._pending is None else self._pending.chunk
        safe = self.log.safe if sent is None else sent.last
        rest = self._chunk(safe, len(self.log.frames))
        return [chunk for chunk in (sent, rest) if chunk is not None and chunk.data]

    def end(self) -> None:
        """The turn is stored, or given up: nothing waits for the journal any more."""
        self.closed = True
        self._shrink(self._unsafe)

    def _shrink(self, size: int) -> None:
        self._unsafe -= size
        self._writer.grew(self, -size)

    def _chunk(self, after: int, last: int) -> JournalChunk:
        return JournalChunk(first=after + 1, last=last, data=b"".join(self.log.frames[after:last]))
