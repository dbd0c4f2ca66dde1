"""Writes what all running turns of this process produce, in one store call per flush.

A flush takes everything there is, of however many turns; the next begins when it is done, and not before
`_INTERVAL_S` have gone by. So the number of calls does not depend on the number of turns. When someone waits
for events, a flush that is due begins at once. Otherwise they may wait for `_PATIENCE_S`: that much a crash
may take back, and that far a reader on another gateway, of whom nobody knows here, is behind.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import AWAY, CANCELLED
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.tail import Tail
from bobbin_protocol.store.journal import JournalEntry, JournalWritten, WriteJournal

log = structlog.get_logger()

_INTERVAL_S = 0.05
_PATIENCE_S = 0.2
_CHECKPOINTS_S = 1.0
_LONGEST_PAUSE_S = 1.0
_MOST_BYTES = 4 * 1024 * 1024
"""Of events in one call, roughly."""


class Journal:
    """The one writer of a process."""

    def __init__(self, store: Store, turns: RunningTurns, settings: Settings) -> None:
        self._store = store
        self._turns = turns
        self._settings = settings
        self._waiting: list[Tail] = []
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._room = asyncio.Event()
        self.has_room = True
        """Whether the events that are not safe yet may become more."""
        self.unsafe = 0
        """How many bytes they are."""
        self._much = settings.journal_buffer_bytes // 4
        """With more of them there may be no room left before patience ends."""
        self._waits_since: float | None = None
        """When (on the loop's clock) the first of the tails that wait began to."""
        self._flushed_since: float | None = None
        """The same of the tails that are being written."""
        self.away_since: float | None = None
        """When (on the loop's clock) the store was last reached, if it cannot be reached now."""

    def grew(self, tail: Tail, size: int) -> None:
        """A tail is longer by so many bytes (or shorter, if negative)."""
        self.unsafe += size
        if size > 0:
            if not tail.waiting:
                self._wait(tail)
            if tail.log.has_safe_reader or self.unsafe > self._much:
                self._urgent.set()
        self.has_room = self.unsafe < self._settings.journal_buffer_bytes
        if self.has_room:
            self._room.set()
        else:
            self._room.clear()

    @property
    def lag_s(self) -> float:
        """How long the oldest event that is not safe has waited, or nearly."""
        since = [moment for moment in (self._waits_since, self._flushed_since) if moment is not None]
        return asyncio.get_running_loop().time() - min(since) if since else 0.0

    def hurry(self) -> None:
        """Someone waits for events to be safe."""
        self._urgent.set()

    async def room(self) -> None:
        """Wait until there is room again: the agent goes on afterwards."""
        await self._room.wait()

    async def run(self) -> None:
        """Flush whenever there is something to; for ever."""
        clock = asyncio.get_running_loop().time
        due, pause_s = clock(), _INTERVAL_S
        while True:
            await self._work.wait()
            await self._until_urgent()
            await asyncio.sleep(due - clock())
            self._work.clear()
            self._urgent.clear()
            began = clock()
            if await self._flush() or not self._waiting:  # or nobody waits for the store any more
                self.away_since, pause_s = None, _INTERVAL_S
            else:
                self._note_outage(began)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            due = began + pause_s

    async def flush(self, wait_s: float) -> None:
        """Write everything there is by now, if the store takes it within that time."""
        self._find_checkpoints()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self._waiting and await self._flush():
                    pass

    async def find_checkpoints(self) -> None:
        """Write also where agents have come to without a word, soon; for ever."""
        while True:
            await asyncio.sleep(_CHECKPOINTS_S)
            self._find_checkpoints()

    def _find_checkpoints(self) -> None:
        for running in self._turns.all():
            if running.tail.has_silent_checkpoint and not running.tail.waiting:
                self._wait(running.tail)

    def _wait(self, tail: Tail) -> None:
        tail.waiting = True
        if not self._waiting:
            self._waits_since = asyncio.get_running_loop().time()
        self._waiting.append(tail)
        self._work.set()

    async def _until_urgent(self) -> None:
        if not self._urgent.is_set():
            timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._urgent.set)
            try:
                await self._urgent.wait()
            finally:
                timer.cancel()

    async def _flush(self) -> bool:
        """Write what waits. Whether the store took it."""
        async with self._flushing:  # what is on its way twice would be confirmed twice
            self._flushed_since, self._waits_since = self._waits_since, None
            taken = await self._write()
            if self._waiting and (self._waits_since is None or not taken):
                self._waits_since = self._flushed_since
            self._flushed_since = None
            return taken

    async def _write(self) -> bool:
        tails, entries = self._collect()
        by_gateway = {tail.gateway_id for tail in tails}
        taken = True
        for gateway_id in by_gateway:  # one, but for the moment in which a lost lease is replaced
            own = [
                (tail, entry)
                for tail, entry in zip(tails, entries, strict=True)
                if tail.gateway_id == gateway_id
            ]
            try:
                written = await self._store.write_journal(
                    gateway_id, WriteJournal(entries=[e for _, e in own])
                )
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("journal not written, will try again", turns=len(own), reason=str(error))
                taken = False
                for tail, _ in own:
                    self._again(tail)
            else:
                self._confirm([tail for tail, _ in own], written)
        return taken

    def _collect(self) -> tuple[list[Tail], list[JournalEntry]]:
        waiting, self._waiting = self._waiting, []
        tails: list[Tail] = []
        entries: list[JournalEntry] = []
        size = 0
        for tail in waiting:
            if size > _MOST_BYTES:
                self._waiting.append(tail)
                self._work.set()
                continue
            tail.waiting = False
            entry = None if tail.closed else tail.entry()
            if entry is not None:
                tails.append(tail)
                entries.append(entry)
                size += len(entry.chunk.data)
        return tails, entries

    def _confirm(self, tails: list[Tail], written: JournalWritten) -> None:
        known = set(written.written)
        for tail in tails:
            if tail.closed:
                continue
            if tail.turn_id not in known:
                self._turns.lose(tail.turn_id)
            elif tail.confirm():
                self._again(tail)
        self._turns.stop(written.stop, CANCELLED)

    def _again(self, tail: Tail) -> None:
        if not tail.waiting and not tail.closed:
            self._wait(tail)
            if tail.log.has_safe_reader:
                self._urgent.set()

    def _note_outage(self, began: float) -> None:
        if self.away_since is None:
            self.away_since = began
        if began - self.away_since >= self._settings.store_retry_s:
            self._turns.stop([running.turn_id for running in self._turns.all()], AWAY)
