"""Live feeds: what happens in an owner's threads, or in one of them, as it happens.

A feed is made of changes outside of turns, in the order of their commits, and of the events of all turns that
run meanwhile. Only what the store has is told, so that a feed can be resumed on any gateway from its cursor:
the last change, and for each turn that runs the last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec import Struct

from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.source import TurnReader
from bobbin_gateway.turns.watcher import WatchedFeed
from bobbin_protocol.ids import Id
from bobbin_protocol.requests import InvalidRequest
from bobbin_protocol.store.watch import Change, Watch

log = structlog.get_logger()

_WAITING = 256
"""Messages that wait for a slow reader; then the feed waits for it."""
_RESET = b'{"event":{"type":"feed.reset"}}'
_DATA = b"data: "
_END = b"\n\n"


class Cursor:
    """How far a reader is: after which change, and in which turn after which event."""

    def __init__(self, position: str | None = None, turns: dict[str, int] | None = None) -> None:
        self.position = position
        self.turns = turns or {}

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what `str` gave.

        Raises:
            InvalidRequest: It did not.
        """
        position, *turns = text.split("~")
        try:
            pairs = (turn.rsplit(":", 1) for turn in turns)
            seen = {msgspec.convert(turn_id, Id): int(number) for turn_id, number in pairs}
        except (ValueError, msgspec.ValidationError) as error:
            raise InvalidRequest("This is no position of a feed", "Last-Event-ID") from error
        return cls(position or None, seen)

    def __str__(self) -> str:
        return "~".join([self.position or "", *(f"{turn}:{number}" for turn, number in self.turns.items())])


class _Message(Struct, frozen=True):
    """What a feed has to say next, and how far its reader is then."""

    data: bytes
    position: str | None = None
    turn_id: str | None = None
    number: int = 0


class _TurnEnded(Struct, frozen=True):
    turn_id: str


class Feed:
    """One reader's feed."""

    def __init__(
        self, engine: TurnEngine, store: Store, owner_id: str, thread_id: str | None, cursor: Cursor
    ) -> None:
        self._engine = engine
        self._store = store
        self._owner_id = owner_id
        self._cursor = cursor
        self._watched = WatchedFeed(owner_id, thread_id, cursor.position)
        self._out: asyncio.Queue[_Message | _TurnEnded] = asyncio.Queue(_WAITING)

    async def open(self) -> None:
        """Look for the first time, alone: a position that is none must not disturb other readers.

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

    async def run(self, send: Callable[[bytes], Awaitable[None]], keepalive_s: float) -> None:
        """Send SSE blocks, those that are ready together in one piece, and ``b""`` in silence; for ever."""
        self._engine.watcher.add(self._watched)
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
            return b""
        while not self._out.empty():
            blocks += self._render(self._out.get_nowait())
        return blocks

    def _render(self, message: _Message | _TurnEnded) -> bytes:
        turns = self._cursor.turns
        if isinstance(message, _TurnEnded):
            turns.pop(message.turn_id, None)
            return b""
        if message.position is not None:
            self._cursor.position = message.position
        if message.turn_id is not None:
            turns[message.turn_id] = message.number
        data = b"data: %b\n" % message.data if message.data else b""
        return b"id: %b\n%b\n" % (str(self._cursor).encode(), data)

    async def _collect(self, tasks: asyncio.TaskGroup) -> None:
        """Take in changes, and follow the turns that begin."""
        following = set(self._cursor.turns)
        for turn_id, number in self._cursor.turns.items():
            tasks.create_task(self._follow(turn_id, number))
        while True:
            changes = await self._watched.read()
            if self._watched.expired:
                self._watched.expired = False
                await self._out.put(_Message(_RESET, self._watched.position))
            for change in changes:
                if change.turn_id is None:
                    await self._out.put(_Message(_envelope(change), change.position))
                elif change.turn_id not in following:
                    following.add(change.turn_id)
                    await self._out.put(_Message(b"", change.position, change.turn_id))
                    tasks.create_task(self._follow(change.turn_id, 0, change.thread_id))
            if not changes:  # the first look: from here on the reader can come back
                await self._out.put(_Message(b"", self._watched.position))

    async def _follow(self, turn_id: str, after: int, thread_id: str = "") -> None:
        """Tell of a turn's events from there on."""
        try:
            if not thread_id:
                thread_id = (await self._store.get_turn(self._owner_id, turn_id)).thread_id
            reader = await self._engine.observe(self._owner_id, turn_id, after)
            try:
                await self._tell(reader, thread_id)
            finally:
                reader.leave()
        except (StoreRefused, StoreUnavailable) as error:  # deleted, or away: the client loads what it shows
            log.info("feed lost a turn", turn_id=turn_id, reason=str(error))
        await self._out.put(_TurnEnded(turn_id))

    async def _tell(self, reader: TurnReader, thread_id: str) -> None:
        while (frames := await reader.read_frames()) is not None:
            number = reader.position - len(frames)
            for frame in frames:
                number += 1
                event = frame.removeprefix(_DATA).removesuffix(_END)
                envelope = b'{"thread_id":"%b","turn_id":"%b","event":%b}' % (
                    thread_id.encode(),
                    reader.turn_id.encode(),
                    event,
                )
                await self._out.put(_Message(envelope, None, reader.turn_id, number))


def _envelope(change: Change) -> bytes:
    return b'{"thread_id":"%b","event":%b}' % (change.thread_id.encode(), change.event or b"null")
