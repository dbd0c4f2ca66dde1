"""The items of a turn that still runs, as they stand: what a client that loads the thread now is to see."""

from __future__ import annotations

from typing import cast

import msgspec

from bobbin_gateway.store import Store
from bobbin_gateway.turns.frames import events_of, frames_of
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, StoredItem, UserMessageItem
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
        watch = Watch(turns=[WatchedTurn(owner_id=self._owner_id, turn_id=running_turn_id)])
        [progress] = (await self._store.watch(watch)).turns
        fold = ItemFold()
        for event in events_of(frames_of(progress.journal)):
            fold.apply(event)
        return _visible(fold)


def _visible(fold: ItemFold) -> list[StoredItem]:
    return [
        cast("StoredItem", document)
        for item in fold.items()
        if not isinstance(item, UserMessageItem)  # stored when the turn began
        if (document := msgspec.to_builtins(item))["type"] not in HIDDEN_ITEM_TYPES
    ]
