"""The items of a turn that still runs, as they stand: what a client that loads the thread now is to see."""

from __future__ import annotations

from typing import NamedTuple, cast

import msgspec

from bobbin_gateway.store import Store
from bobbin_gateway.turns.frames import events_of, frames_of
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, StoredItem, UserMessageItem
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.watch import Watch, WatchedTurn


class Standing(NamedTuple):
    """What a turn has to show so far."""

    made: list[StoredItem]
    """Oldest first."""
    replaced: dict[str, StoredItem]
    """By their ids, items of earlier turns as they are now."""


class StandingItems:
    """The items of the turn that runs in a thread.

    To be made before the thread is read from the store: a turn that ends meanwhile is then seen twice rather
    than not at all.
    """

    def __init__(self, turns: RunningTurns, store: Store, owner_id: str, thread_id: str) -> None:
        self._store = store
        self._owner_id = owner_id
        self._running = turns.in_thread(owner_id, thread_id)

    async def read(self, running_turn_id: str | None) -> Standing:
        """The visible items.

        Args:
            running_turn_id: What runs in the thread according to the store.
        """
        if self._running is not None:
            return _standing(self._running.items)
        if running_turn_id is None:
            return Standing([], {})
        fold = ItemFold()
        for event in events_of(frames_of(await self._journal(running_turn_id))):
            fold.apply(event)
        return _standing(fold)

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


def _standing(fold: ItemFold) -> Standing:
    visible = [
        cast("StoredItem", document)
        for item in fold.items()
        if not isinstance(item, UserMessageItem)  # stored when the turn began
        if (document := msgspec.to_builtins(item))["type"] not in HIDDEN_ITEM_TYPES
    ]
    return Standing(
        made=[item for item in visible if fold.came(item["id"])],
        replaced={item["id"]: item for item in visible if not fold.came(item["id"])},
    )
