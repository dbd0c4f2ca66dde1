"""What becomes of turns that have lost their last reader: they go on for a while, in case someone comes back.

They may have come back on another gateway, even before their loss was noticed here. So it is the store that
knows: who joins a turn tells it so, and a loss counts only if it is that of the last to join.
"""

from __future__ import annotations

import asyncio

import structlog

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import CANCELLED
from bobbin_gateway.turns.running import RunningTurn

log = structlog.get_logger()

_LOOK_S = 1.0
"""How often to look whether a turn still has its readers on other gateways, at most."""


class Desertion:
    """Watches over the turns without readers of a process."""

    def __init__(self, store: Store, settings: Settings, tasks: asyncio.TaskGroup) -> None:
        self._store = store
        self._grace_s = settings.cancel_grace_s
        self._tasks = tasks

    def lost(self, running: RunningTurn) -> None:
        """A turn that runs here has lost its last reader here."""
        running.losses += 1
        running.deserted = True
        self._tasks.create_task(self._await_readers(running), name=f"{running.turn_id} deserted")

    def lost_elsewhere(self, owner_id: str, turn_id: str, reader_id: str) -> None:
        """A turn that runs elsewhere has lost a reader here."""
        self._tasks.create_task(self._note(owner_id, turn_id, reader_id), name=f"{turn_id} deserted")

    async def _await_readers(self, running: RunningTurn) -> None:
        """Let readers come back, here or on another gateway, and stop the turn if none does."""
        loss = running.losses
        noted = await self._note(running.turn.owner_id, running.turn_id, running.joined_by)
        if noted and running.readers == 0:
            running.deserted = None  # the store knows, also of those who join the turn elsewhere
        pause_s, read_elsewhere = self._grace_s, False
        while not await running.ends_within(pause_s):
            if running.readers or running.outlives_readers or running.losses > loss:
                return
            read_elsewhere = noted and await self._is_read_elsewhere(running, otherwise=read_elsewhere)
            if not read_elsewhere:
                running.stop(CANCELLED)
                return
            pause_s = max(self._grace_s, _LOOK_S)

    async def _note(self, owner_id: str, turn_id: str, reader_id: str | None) -> bool:
        try:
            await self._store.desert_turn(owner_id, turn_id, reader_id)
        except (StoreRefused, StoreUnavailable) as error:
            log.warning("desertion not noted", turn_id=turn_id, reason=str(error))
            return False
        return True

    async def _is_read_elsewhere(self, running: RunningTurn, *, otherwise: bool) -> bool:
        """Ask the store to cancel the turn if nobody has joined it; `otherwise` if it cannot be reached."""
        try:
            record = await self._store.cancel_turn(
                running.turn.owner_id, running.turn_id, only_if_deserted=True
            )
        except (StoreRefused, StoreUnavailable) as error:
            log.warning("readers not known", turn_id=running.turn_id, reason=str(error))
            return otherwise
        return not record.cancel_requested
