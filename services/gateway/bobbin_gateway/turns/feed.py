"""Live feeds: what happens in an owner's threads, or in one of them, as it happens.

A feed is made of changes outside of turns, in the order of their commits, and of the events of all turns that
run meanwhile. Only what the store has is told, so that a feed can be resumed on any gateway from its cursor:
the last change, and for each turn that runs the last event.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.frames import json_of
from bobbin_gateway.turns.outcome import Draining
from bobbin_gateway.turns.source import TurnReader
from bobbin_gateway.turns.watcher import WatchedFeed
from bobbin_protocol.requests import InvalidRequest
from bobbin_protocol.store.watch import Change, Watch

log = structlog.get_logger()

_WAITING = 256
"""Messages that wait for a slow reader; then the feed waits for it."""
_RESET = b'{"event":{"type":"feed.reset"}}'
_MOST_TURNS = 100
"""That a cursor names: it travels in a header."""
_LOST = "lost"
"""The cursor of a reader of more turns than that: who comes back with it loads again what they show."""
_CURSOR = re.compile(r"[0-9._]*(~[A-Za-z0-9_.:\-]{1,128}:[0-9]{1,15})*")
"""The positions are the store's: it looks at them more closely."""
_PAUSE_S = 1.0
"""Before looking again for a turn when the store is away."""
_PATIENCE_S = 5.0
"""How long a turn may hold up what comes after it: it was superseded, and its gateway may be dead."""


class Cursor:
    """How far a reader is: after which change, and in which turn after which event."""

    def __init__(
        self, position: str | None = None, turns: dict[str, int] | None = None, *, lost: bool = False
    ) -> None:
        self.position = position
        self.turns = turns or {}
        self.lost = lost
        """Whether that cannot be told."""

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what `str` gave.

        Raises:
            InvalidRequest: It did not.
        """
        if text == _LOST or text.count("~") > _MOST_TURNS:
            return cls(lost=True)
        if not _CURSOR.fullmatch(text):
            raise InvalidRequest("This is no position of a feed", "Last-Event-ID")
        position, *turns = text.split("~")
        pairs = (turn.rpartition(":") for turn in turns)
        return cls(position or None, {turn_id: int(number) for turn_id, _, number in pairs})

    def __str__(self) -> str:
        if len(self.turns) > _MOST_TURNS:
            return _LOST
        return "~".join([self.position or "", *(f"{turn}:{number}" for turn, number in self.turns.items())])


class _Message(Struct, frozen=True):
    """What a feed has to say next, and how far its reader is then."""

    data: bytes = b""
    position: str | None = None
    turn_id: str | None = None
    number: int | None = None
    """Of the turn's event; None: it has ended."""


class Feed:
    """One reader's feed."""

    def __init__(
        self, engine: TurnEngine, store: Store, owner_id: str, thread_id: str | None, cursor: Cursor
    ) -> None:
        self._engine = engine
        self._store = store
        self._owner_id = owner_id
        self._cursor = cursor
        self._watched = WatchedFeed(owner_id, thread_id, cursor.position, expired=cursor.lost)
        self._is_open = False
        self._out: asyncio.Queue[_Message] = asyncio.Queue(_WAITING)
        self._turns = {turn_id: _Followed(told=number) for turn_id, number in cursor.turns.items()}

    async def open(self) -> None:
        """Look for the first time, alone: a position that is none must not disturb other readers.

        To be followed by `run`, which opens the feed itself once the store can be reached.

        Raises:
            InvalidRequest: It is none.
            StoreUnavailable: The store cannot be reached.
        """
        wanted = Watch(changes=[self._watched.wanted()])
        try:
            [changes] = (await self._store.watch(wanted)).changes
        except StoreRefused as error:
            raise InvalidRequest("This is no position of a feed", "Last-Event-ID") from error
        self._watched.take(changes)
        self._engine.watcher.add(self._watched)
        self._is_open = True

    async def run(self, send: Callable[[bytes], Awaitable[None]], keepalive_s: float) -> None:
        """Send SSE blocks, those that are ready together in one piece; for ever.

        In silence comes the reader's position without data, so that it does not expire; or ``b""`` if there
        is none to give.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._collect(tasks))
                while True:
                    await send(await self._next(keepalive_s))
        finally:
            self._engine.watcher.remove(self._watched)

    async def _next(self, keepalive_s: float) -> bytes:
        try:
            async with asyncio.timeout(keepalive_s):
                blocks = self._render(await self._out.get())
        except TimeoutError:
            if self._watched.waits or not self._out.empty():
                return b""
            return self._render(_Message(position=self._watched.position))  # which must not grow old
        while not self._out.empty():
            blocks += self._render(self._out.get_nowait())
        return blocks

    def _render(self, message: _Message) -> bytes:
        cursor = self._cursor
        if message.position is not None:
            cursor.position = message.position
        if message.turn_id is not None and message.number is None:
            cursor.turns.pop(message.turn_id, None)
        elif message.turn_id is not None and message.number is not None:
            cursor.turns[message.turn_id] = message.number
        data = b"data: %b\n" % message.data if message.data else b""
        return b"id: %b\n%b\n" % (str(cursor).encode(), data)

    async def _collect(self, tasks: asyncio.TaskGroup) -> None:
        """Take in changes, and follow the turns that begin."""
        while not self._is_open:
            await self._open_when_possible()
        for turn_id, turn in self._turns.items():
            turn.task = tasks.create_task(self._follow(turn_id, turn))
        while True:
            changes = await self._watched.read()
            if self._watched.expired:
                self._watched.expired = False
                await self._out.put(_Message(_RESET, self._watched.position))
            for change in changes:
                await self._tell_what_came_before(change)
                if change.turn_id is None:
                    await self._out.put(_Message(_envelope(change), change.position))
                elif change.turn_id not in self._turns:
                    await self._out.put(_Message(b"", change.position, change.turn_id, 0))
                    turn = self._turns[change.turn_id] = _Followed(thread_id=change.thread_id)
                    turn.task = tasks.create_task(self._follow(change.turn_id, turn))
            if not changes:  # the first look: from here on the reader can come back
                await self._out.put(_Message(b"", self._watched.position))

    async def _open_when_possible(self) -> None:
        """A browser takes an error for the end of a feed, once and for all: so it gets a feed that waits."""
        try:
            await self.open()
        except StoreUnavailable as error:
            log.info("feed waits for the store", reason=str(error))
            await asyncio.sleep(_PAUSE_S)
        except InvalidRequest:
            self._watched = WatchedFeed(self._owner_id, self._watched.thread_id, None, expired=True)

    async def _tell_what_came_before(self, change: Change) -> None:
        """Tell of the turn before a turn to its end, and the same before all that comes after that end."""
        for turn in list(self._turns.values()):
            await turn.found.wait()
            if turn.thread_id == change.thread_id and turn.task and (change.turn_id or turn.has_ended):
                await asyncio.wait([turn.task], timeout=_PATIENCE_S)

    async def _follow(self, turn_id: str, turn: _Followed) -> None:
        """Tell of a turn's events to its end, wherever it goes on."""
        while True:
            try:
                if not turn.thread_id:
                    turn.thread_id = (await self._store.get_turn(self._owner_id, turn_id)).thread_id
                if self._watched.thread_id not in {None, turn.thread_id} or await self._read(turn_id, turn):
                    break
            except StoreRefused as error:  # it has been deleted
                log.info("feed lost a turn", turn_id=turn_id, reason=str(error))
                break
            except StoreUnavailable as error:
                log.info("feed waits for a turn", turn_id=turn_id, reason=str(error))
                await asyncio.sleep(_PAUSE_S)
            except Draining:
                return  # the feed ends, too: its reader comes back elsewhere
        turn.found.set()
        del self._turns[turn_id]
        await self._out.put(_Message(turn_id=turn_id))

    async def _read(self, turn_id: str, turn: _Followed) -> bool:
        """Tell of a turn's events where it is now. Whether that was its end, or it was only given up here."""
        reader = turn.reader = await self._engine.readers.observe(self._owner_id, turn_id, turn.told)
        turn.found.set()
        try:
            while (frames := await reader.read_frames()) is not None:
                number = reader.position - len(frames)
                for frame in frames:
                    number += 1
                    turn.told = number
                    data = _tell(frame, turn_id, turn.thread_id)
                    await self._out.put(_Message(data, None, turn_id, number))
            return not reader.farewell
        finally:
            reader.leave()


class _Followed:
    """A turn that a feed tells of."""

    def __init__(self, *, thread_id: str = "", told: int = 0) -> None:
        self.thread_id = thread_id
        self.told = told
        """The last event that is on its way to the reader."""
        self.task: asyncio.Task[None] | None = None
        self.reader: TurnReader | None = None
        self.found = asyncio.Event()
        """Set once the thread is known, and whether the turn still runs."""

    @property
    def has_ended(self) -> bool:
        """Whether all its events are there, told or not."""
        return self.reader is None or self.reader.has_all


def _tell(frame: bytes, turn_id: str, thread_id: str) -> bytes:
    return b'{"thread_id":"%b","turn_id":"%b","event":%b}' % (
        thread_id.encode(),
        turn_id.encode(),
        json_of(frame),
    )


def _envelope(change: Change) -> bytes:
    return b'{"thread_id":"%b","event":%b}' % (change.thread_id.encode(), change.event or b"null")
