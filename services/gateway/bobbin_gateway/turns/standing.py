"""The items of a turn that still runs, as they stand: what a client that loads the thread now is to see."""

from __future__ import annotations

from typing import cast

import msgspec

from bobbin_gateway.store import Store
from bobbin_gateway.turns.frames import events_of, frames_of
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, StoredItem, UserMessageItem
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.watch import Watch, WatchedTurn


class StandingItems:
    """The items of the turn that runs in a thread.

    To be made before the thread is read from the store: a turn that ends meanwhile is then seen twice rather
    than not at all.
    """

    def __init__(self, turns: RunningTurns, store: Store, owner_id: str, thread_id: str) -> None:
        self._store = store
        self._owner_id = owner_id
        self._running = turns.in_thread(owner_id, thread_id)

    async def read(self, running_turn_id: str | None) -> list[StoredItem]:
        """The visible items, oldest first.

        Args:
            running_turn_id: What runs in the thread according to the store.
        """
        if self._running is not None:
            return _visible(self._running.items)
        if running_turn_id is None:
            return []
        fold = ItemFold()
        for event in events_of(frames_of(await self._journal(running_turn_id))):
            fold.apply(event)
        return _visible(fold)

    async def _journal(self, turn_id: str) -> list[JournalChunk]:
        """All that the journal has of a turn; it comes in parts."""
        chunks: list[JournalChunk] = []
        while True:
            after = chunks[-1].last if chunks else 0
            wanted = [WatchedTurn(owner_id=self._owner_id, turn_id=turn_id, after=after)]
            [progress] = (await self._store.watch(Watch(turns=wanted))).turns
            chunks += progress.journal
            if not (progress.more and progress.journal):
                return chunks


def _visible(fold: ItemFold) -> list[StoredItem]:
    return [
        cast("StoredItem", document)
        for item in fold.items()
        if not isinstance(item, UserMessageItem)  # stored when the turn began
        if (document := msgspec.to_builtins(item))["type"] not in HIDDEN_ITEM_TYPES
    ]
