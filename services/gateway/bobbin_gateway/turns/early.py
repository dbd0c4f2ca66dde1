"""Stores hidden items while their turn runs: they tell the model what tools have done, which no crash undoes.

It is done in the background, and only tried: the end of the turn brings the same items again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import structlog

from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.items import StoredItem, ThreadItem
from bobbin_protocol.store.turns import AddTurnItems

log = structlog.get_logger()

_PAUSES_S = (0.1, 0.5, 2.0)
"""Before each new attempt to reach a store that is away."""
_LAST_WAIT_S = 1.0
"""How long the end of a turn waits for a call that is under way."""


class StoringEarly:
    """Within its block hidden items of a turn are stored as they come."""

    __slots__ = ("_closed", "_running", "_store", "_waiting", "_writing")

    def __init__(self, store: Store, running: RunningTurn) -> None:
        self._store = store
        self._running = running
        self._waiting: dict[str, StoredItem] = {}
        """What the store lacks."""
        self._writing: asyncio.Task[None] | None = None
        self._closed: asyncio.Event | None = None  # made when needed: open streams are many

    async def __aenter__(self) -> None:
        self._running.keep_early = self.add

    async def __aexit__(self, *_: object) -> None:
        self._running.keep_early = None
        await self.close()

    def add(self, item: ThreadItem) -> None:
        """Store an item soon, as it is now."""
        self._waiting[item.id] = msgspec.to_builtins(item)
        self._closed = self._closed or asyncio.Event()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(
                self._write(self._closed), name=f"{self._running.turn_id} early items"
            )

    async def close(self) -> None:
        """Begin no more calls; wait for one that is under way, but not for long."""
        if self._closed is None or self._writing is None:
            return
        self._closed.set()
        await asyncio.wait([self._writing], timeout=_LAST_WAIT_S)
        self._writing.cancel()
        await asyncio.wait([self._writing])
        if not self._writing.cancelled() and (error := self._writing.exception()) is not None:
            log.error("items not stored early", turn_id=self._running.turn_id, exc_info=error)

    async def _write(self, closed: asyncio.Event) -> None:
        pauses = iter(_PAUSES_S)
        while self._waiting and not closed.is_set() and not self._running.lost:
            items, self._waiting = self._waiting, {}
            try:
                await self._send(list(items.values()))
            except StoreRefused as refused:
                log.warning("items refused by the store", turn_id=self._running.turn_id, reason=str(refused))
                if refused.problem.code == "lease_lost":
                    self._running.lose()
            except StoreUnavailable as error:
                self._waiting = items | self._waiting
                pause_s = next(pauses, None)
                if pause_s is None:
                    log.warning("items not stored early", turn_id=self._running.turn_id, reason=str(error))
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await closed.wait()

    async def _send(self, items: list[StoredItem]) -> None:
        turn = self._running.turn
        wanted = AddTurnItems(items=items, gateway_id=self._running.tail.gateway_id)
        await self._store.add_turn_items(turn.owner_id, turn.id, wanted)
