"""How readers get to turns, wherever those run or ran."""

from __future__ import annotations

import asyncio
from functools import partial

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreUnavailable
from bobbin_gateway.turns.desertion import Desertion
from bobbin_gateway.turns.outcome import Draining
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.result import FinalSource
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.source import Joined, Observed, Source, TurnReader
from bobbin_gateway.turns.watcher import Watcher
from bobbin_protocol.ids import new_id
from bobbin_telemetry import tracing


class Readers:
    """The ways to the turns of one gateway process, and from there to those of others."""

    def __init__(
        self,
        turns: RunningTurns,
        watcher: Watcher,
        desertion: Desertion,
        store: Store,
        settings: Settings,
    ) -> None:
        self._turns = turns
        self._watcher = watcher
        self._desertion = desertion
        self._store = store
        self._settings = settings
        self.closed = False
        """Whether turns that run elsewhere are to be read elsewhere: the process stops."""

    async def open(self, owner_id: str, turn_id: str, *, resumable: bool, after: int = 0) -> Source:
        """A turn to read, wherever it runs or ran; entered. Its log reaches event `after`, if the turn does.

        Raises:
            StoreRefused: No such turn.
            StoreUnavailable: The store cannot be reached.
            Draining: The process is stopping.
        """
        if running := self._here(owner_id, turn_id, after):
            running.enter(resumable=resumable)
            tracing.current().link(running.span)
            return running
        if self.closed:
            raise Draining
        remote = self._watcher.turn(owner_id, turn_id)
        remote.enter(resumable=resumable)
        try:
            async with asyncio.timeout(self._settings.store_timeout_s):
                await remote.reached(after)
        except TimeoutError as error:
            remote.leave()
            raise StoreUnavailable("the turn was not found in time") from error
        except asyncio.CancelledError:
            remote.leave()
            raise
        if not remote.log.moved:
            return remote
        remote.leave()
        if self.closed:
            raise Draining
        return FinalSource(await self._store.turn_result(owner_id, turn_id))  # or there is none: it raises

    def _here(self, owner_id: str, turn_id: str, after: int) -> RunningTurn | None:
        """The turn, if it runs in this process.

        Who has read further than it got here has read on elsewhere: then it is another gateway's by now (this
        one stood still), and we are about to learn it.
        """
        running = self._turns.get(owner_id, turn_id)
        return running if running is not None and after <= len(running.log.frames) else None

    async def join(self, owner_id: str, turn_id: str, reader_id: str, *, resumable: bool) -> Source:
        """Let a request that was sent again into its turn; entered.

        Raises:
            StoreRefused: No such turn.
            StoreUnavailable: The store cannot be reached.
            Draining: The process is stopping.
        """
        source = await self.open(owner_id, turn_id, resumable=resumable)
        if isinstance(source, RunningTurn):
            source.joined_by = reader_id
        elif not resumable:
            return Joined(source, partial(self._desertion.lost_elsewhere, owner_id, turn_id, reader_id))
        return source

    async def come_back(self, owner_id: str, turn_id: str, after: int) -> Source:
        """Let someone who knows a turn by its id read it; entered. It goes on without readers from now on.

        Raises:
            StoreRefused: No such turn.
            StoreUnavailable: The store cannot be reached.
            Draining: The process is stopping.
        """
        if self._here(owner_id, turn_id, after) is None:
            await self._store.join_turn(owner_id, turn_id, new_id("turn"))
        return await self.open(owner_id, turn_id, resumable=True, after=after)

    async def observe(self, owner_id: str, turn_id: str, after: int) -> TurnReader:
        """A reader of safe events that does not count: a turn is cancelled for want of readers all the same.

        It begins behind event `after`, or at the end if there is no such event.

        Raises:
            StoreRefused: No such turn.
            StoreUnavailable: The store cannot be reached.
        """

        async def open_source(after: int) -> Source:
            if running := self._here(owner_id, turn_id, after):
                running.tail.hurry()
                return Observed(running)
            return await self.open(owner_id, turn_id, resumable=True, after=after)

        source = await open_source(after)
        position = source.position(after)
        return TurnReader(
            source,
            self._settings.keepalive_s,
            position=len(source.log.frames) if position is None else position,
            resumable=True,
            reopen=open_source,
        )

    def reader(self, owner_id: str, source: Source, *, position: int, resumable: bool) -> TurnReader:
        """A reader of an entered source, who is to leave it."""
        tracing.current().set({"bobbin.turn.id": source.turn_id})
        return TurnReader(
            source,
            self._settings.keepalive_s,
            position=position,
            resumable=resumable,
            reopen=lambda after: self.open(owner_id, source.turn_id, resumable=resumable, after=after),
        )
