"""This process's lease on the turns that it runs, and its claims to the turns of processes that died.

One call renews the lease for all turns. A process that was declared dead meanwhile (it was slow, or cut off)
lets go of its turns and goes on under a new id. Only who has reached the store for as long as a lease lasts
claims: after an outage of the store, or when all stood still, everyone else deserves the time to renew, too.
And only when it has just been reached: a claim that waits at a store which stands still might be heard before
the renewals of others. (The store refuses whose lease lapsed meanwhile; a shorter outage it cannot see.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

import structlog

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import CANCELLED
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_protocol.ids import new_id
from bobbin_protocol.store.gateways import ClaimedTurn, ClaimTurns, RenewLease, TurnRef

log = structlog.get_logger()

_RENEWALS = 5
"""In the time that a lease lasts, at least."""
_PART = 4
"""A renewal waits for this part of a lease: two may hang, with the pauses between them, before it lapses."""
_LONGEST_PAUSE_S = 1.0
"""Between renewals: they also tell which turns are to be stopped."""
_MOST_CLAIMS = 20


class Lease:
    """Kept up by `run`."""

    def __init__(self, store: Store, turns: RunningTurns, settings: Settings) -> None:
        self._store = store
        self._turns = turns
        self._lease_s = settings.lease_s
        self.gateway_id = new_id("gateway")
        """Under which this process begins turns now."""
        self._released: dict[str, TurnRef] = {}
        self._beginning: set[str] = set()
        self._new_to_claim: set[str] = set()
        """What began since the last claim was sent: if it is claimed, that is no reason to take it over."""
        self._claims = True
        self._renewed = asyncio.Event()
        """Set by each renewal that was answered; claims wait for that."""
        self._reached_since: float | None = None
        self._reached_at = -inf

    @property
    def is_held(self) -> bool:
        """Whether turns can begin: the store, and its database, took our word within the last lease.

        Otherwise others may take what begins here for an orphan.
        """
        return asyncio.get_running_loop().time() - self._reached_at < self._lease_s

    def begins(self, turn_id: str) -> None:
        """A turn may begin under this lease: until `begun` the store may know more of it than we do."""
        self._beginning.add(turn_id)
        self._new_to_claim.add(turn_id)

    def begun(self, turn_id: str) -> None:
        """It runs, or it never will: if the store has opened it all the same, the next claim brings it."""
        self._beginning.discard(turn_id)

    def stop_claiming(self) -> None:
        """The process stops: leave to others what it gives up, and what others have left."""
        self._claims = False

    def release(self, owner_id: str, turn_id: str) -> None:
        """Give a turn up, if there is such a turn: whoever claims next gets it."""
        self._released[turn_id] = TurnRef(owner_id=owner_id, turn_id=turn_id)

    async def run(self, take_over: Callable[[ClaimedTurn], None]) -> None:
        """Renew and claim, side by side: a claim that hangs must not cost the lease; for ever."""
        pause_s = min(self._lease_s / _RENEWALS, _LONGEST_PAUSE_S)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(pause_s), name="renewals")
            tasks.create_task(self._claim_what_there_is(take_over), name="claims")

    async def _keep(self, pause_s: float) -> None:
        while True:
            await self.renew()
            await asyncio.sleep(pause_s)

    async def _claim_what_there_is(self, take_over: Callable[[ClaimedTurn], None]) -> None:
        while True:
            await self._renewed.wait()
            self._renewed.clear()
            more = True
            while more and self._may_claim():
                more = await self._claim(take_over)

    async def renew(self) -> bool:
        """Renew once. Whether the lease is held."""
        gateway_id, released = self.gateway_id, list(self._released.values())
        wanted = RenewLease(lease_s=self._lease_s, released=released)
        try:
            async with asyncio.timeout(self._lease_s / _PART):
                renewed = await self._store.renew_lease(gateway_id, wanted)
        except (StoreUnavailable, StoreRefused, TimeoutError) as error:
            log.warning("lease not renewed", reason=str(error) or "no answer in time")
            self._reached_since = None
            return False
        if gateway_id != self.gateway_id:  # another call has found it dead
            return False
        if not renewed.alive:
            self._begin_anew()
            return False
        for turn in released:
            self._released.pop(turn.turn_id, None)
        self._turns.stop(renewed.stop, CANCELLED)
        now = asyncio.get_running_loop().time()
        if self._reached_since is None or now - self._reached_at > self._lease_s:
            self._reached_since = now
        self._reached_at = now
        self._renewed.set()
        return True

    def _begin_anew(self) -> None:
        log.error("lease lost: this gateway was taken for dead", gateway_id=self.gateway_id)
        for running in self._turns.all():
            running.lose()
        self.gateway_id = new_id("gateway")
        self._reached_since, self._reached_at = None, -inf
        self._released.clear()

    def _may_claim(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._claims and self._reached_since is not None and now - self._reached_since >= self._lease_s

    async def _claim(self, take_over: Callable[[ClaimedTurn], None]) -> bool:
        """Take over what there is. Whether there may be more."""
        self._new_to_claim.clear()
        gateway_id = self.gateway_id
        running = [*self._beginning, *(running.turn_id for running in self._turns.all())]
        try:
            claimed = await self._store.claim_turns(
                gateway_id, ClaimTurns(limit=_MOST_CLAIMS, running=running)
            )
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("nothing claimed", reason=str(error))
            return False
        if gateway_id != self.gateway_id:  # found dead meanwhile: another one gets them
            return False
        more = claimed.more
        for turn in claimed.turns:
            if turn.turn_id not in self._new_to_claim and not self._turns.runs(turn.turn_id):
                log.warning("turn taken over", turn_id=turn.turn_id)
                try:
                    take_over(turn)
                except Exception:  # one turn that cannot be brought back must not end all others
                    log.exception("turn cannot be taken over", turn_id=turn.turn_id)
                    more = False  # it would come again at once
        return more
