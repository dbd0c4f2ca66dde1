"""Reads what happens elsewhere for all readers of this process: one store call per look.

While nothing is watched there are no calls.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.frames import frames_in
from bobbin_gateway.turns.log import EventLog
from bobbin_gateway.turns.outcome import SHUT_DOWN
from bobbin_gateway.turns.source import NumberedSource
from bobbin_protocol.sse import encode_event
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.turns import TurnState
from bobbin_protocol.store.watch import (
    Change,
    Changes,
    TurnProgress,
    Watch,
    WatchedChanges,
    WatchedTurn,
)
from bobbin_protocol.wire import encode_json

log = structlog.get_logger()

_LEAST_PAUSE_S = 0.025
"""From look to look, however much happens."""
_LONGEST_PAUSE_S = 2.0


class RemoteTurn(NumberedSource):
    """A turn that runs elsewhere, or ran, as the journal has it. All its events are safe."""

    def __init__(self, owner_id: str, turn_id: str, unread: Callable[[RemoteTurn], None]) -> None:
        self.owner_id = owner_id
        self.turn_id = turn_id
        self.log = EventLog()
        self.state: TurnState | None = None
        self.found = asyncio.Event()
        """Set once it is known that the turn runs, or all that the journal has of one that ended, or that
        there is no such turn (`state` is None)."""
        self._unread = unread
        self.readers = 0
        self._looked_twice = False
        self._looks = 0
        self._next_look = asyncio.Event()

    async def reached(self, after: int) -> None:
        """Wait until the turn is found, and its event `after` if there is one by now.

        Other readers may have brought us here before: then what is known may be older than what the journal
        had when this reader asked, and what it has read elsewhere. The look after the next one is newer.
        """
        await self.found.wait()
        enough = self._looks + 2
        while len(self.log.frames) < after and not self.log.ended and self._looks < enough:
            await self._next_look.wait()

    def take(self, progress: TurnProgress) -> bool:
        """Add what is new. Whether there is more of it already.

        Then nothing is said yet to those who wait for an answer. But what comes behind a gap is of no use:
        the journal has expired.
        """
        before = len(self.log.frames)
        for chunk in progress.journal:
            self._add(chunk)
        if progress.more and (len(self.log.frames) > before or not progress.journal):
            return True
        self._take(progress)
        self._looks += 1
        self._next_look.set()
        self._next_look = asyncio.Event()
        return False

    def _take(self, progress: TurnProgress) -> None:
        self.state = progress.state
        if progress.state is None:
            self.log.end(moved=True)
        elif progress.event_count is not None:
            self._end(progress.event_count)
            if not self.log.ended:
                return
        self.found.set()

    def _add(self, chunk: JournalChunk) -> None:
        position = len(self.log.frames)
        if chunk.first > position + 1 or chunk.last <= position:
            return  # what should stand before it has expired; or it is known
        for frame in frames_in(chunk)[position + 1 - chunk.first :]:
            self.log.append(frame)
        self.log.secure(len(self.log.frames))

    def _end(self, event_count: int) -> None:
        if 0 < event_count <= len(self.log.frames):
            self.log.end()
        elif self._looked_twice or not event_count:  # never journalled, expired, or not one of our turns
            self.log.end(moved=True)
        else:
            self._looked_twice = True

    def give_up(self, farewell: bytes) -> None:
        """Look no more, though the turn goes on."""
        self.log.end(farewell=farewell, moved=True)
        self.found.set()
        self._next_look.set()

    def enter(self, *, resumable: bool) -> None:
        """Count one more reader."""
        del resumable
        self.readers += 1

    def leave(self) -> None:
        """Count one less; without readers the turn is watched no longer."""
        self.readers -= 1
        if self.readers == 0:
            self._unread(self)


class WatchedFeed:
    """What changes in an owner's threads, or in one of them, from `position` on."""

    def __init__(
        self, owner_id: str, thread_id: str | None, position: str | None, *, expired: bool = False
    ) -> None:
        self.owner_id = owner_id
        self.thread_id = thread_id
        self.position = position
        self.expired = expired
        """Whether something was missed: the reader must begin anew."""
        self._changes: list[Change] = []
        self._news = asyncio.Event()

    def wanted(self) -> WatchedChanges:
        """What to ask the store for."""
        return WatchedChanges(owner_id=self.owner_id, thread_id=self.thread_id, after=self.position)

    def take(self, changes: Changes) -> None:
        """Add what is new."""
        first = self.position is None
        self.position = changes.position
        self.expired = self.expired or changes.expired
        self._changes += changes.changes
        if changes.changes or changes.expired or first:
            self._news.set()
        if len(self._changes) > _MOST_CHANGES:  # its reader does not keep up: begin anew
            self._changes.clear()
            self.position, self.expired = None, True

    @property
    def waits(self) -> bool:
        """Whether there is something to read, or not even a position yet."""
        return self._news.is_set() or self.position is None

    async def read(self) -> list[Change]:
        """Wait for changes. The first answer may be empty: from then on `position` is known."""
        await self._news.wait()
        self._news.clear()
        changes, self._changes = self._changes, []
        return changes


_MOST_CHANGES = 2000


class Watcher:
    """The one watcher of a process, kept going by `run`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._interval_s = settings.watch_interval_s
        self._turns: dict[tuple[str, str], RemoteTurn] = {}
        self._feeds: dict[int, WatchedFeed] = {}
        self._owners: Counter[str] = Counter()
        """How many feeds each has."""
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()

    def turn(self, owner_id: str, turn_id: str) -> RemoteTurn:
        """Watch a turn as long as it has readers; enter before waiting for `found`."""
        key = owner_id, turn_id
        remote = self._turns.get(key)
        if remote is None or remote.log.ended:
            remote = self._turns[key] = RemoteTurn(owner_id, turn_id, self._forget)
        self._look_soon()
        return remote

    def _forget(self, remote: RemoteTurn) -> None:
        key = remote.owner_id, remote.turn_id
        if self._turns.get(key) is remote:
            del self._turns[key]

    def add(self, feed: WatchedFeed) -> None:
        """Watch for changes until `remove`."""
        self._feeds[id(feed)] = feed
        self._owners[feed.owner_id] += 1
        self._look_soon()

    def remove(self, feed: WatchedFeed) -> None:
        """Watch no longer."""
        if self._feeds.pop(id(feed), None) is None:
            return
        self._owners[feed.owner_id] -= 1
        if not self._owners[feed.owner_id]:
            del self._owners[feed.owner_id]

    def hurry(self, owner_id: str) -> None:
        """Something of this owner has just happened: look at once, if they have a feed."""
        if self._owners[owner_id]:
            self._look_soon()

    def _look_soon(self) -> None:
        self._urgent.set()
        self._work.set()

    @property
    def feed_count(self) -> int:
        """How many feeds are open."""
        return len(self._feeds)

    @property
    def reader_count(self) -> int:
        """How many read turns that run elsewhere."""
        return sum(turn.readers for turn in self._turns.values())

    def close(self) -> None:
        """The process stops: end what is read of turns elsewhere."""
        farewell = encode_event(encode_json(SHUT_DOWN.error))
        for turn in self._turns.values():
            turn.give_up(farewell)

    async def run(self) -> None:
        """Look every now and then; for ever."""
        pause_s = self._interval_s
        clock = asyncio.get_running_loop().time
        while True:
            await self._work.wait()
            self._urgent.clear()
            next_at = clock() + _LEAST_PAUSE_S
            reached = await self._look()
            pause_s = self._interval_s if reached else min(pause_s * 2, _LONGEST_PAUSE_S)
            if not (self._turns or self._feeds):
                self._work.clear()
                continue
            await self._pause(pause_s, wakes=reached)
            await asyncio.sleep(next_at - clock())

    async def _pause(self, pause_s: float, *, wakes: bool) -> None:
        if not wakes:
            await asyncio.sleep(pause_s)
            return
        timer = asyncio.get_running_loop().call_later(pause_s, self._urgent.set)
        try:
            await self._urgent.wait()
        finally:
            timer.cancel()

    async def _look(self) -> bool:
        turns = [turn for turn in self._turns.values() if not turn.log.ended]
        feeds = list(self._feeds.values())
        if not (turns or feeds):
            return True
        watch = Watch(
            turns=[
                WatchedTurn(owner_id=turn.owner_id, turn_id=turn.turn_id, after=len(turn.log.frames))
                for turn in turns
            ],
            changes=[feed.wanted() for feed in feeds],
        )
        try:
            watched = await self._store.watch(watch)
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("nothing seen, will look again", reason=str(error))
            return False
        more = [turn.take(progress) for turn, progress in zip(turns, watched.turns, strict=True)]
        if any(more):
            self._look_soon()
        for feed, changes in zip(feeds, watched.changes, strict=True):
            feed.take(changes)
        return True
