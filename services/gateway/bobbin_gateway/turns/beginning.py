"""Beginning turns: at once where it can be done, later where something is in the way.

In the way may be another turn in the thread (`DOUBLE_TEXTING`), messages that came before this one, or a
store that is away. The store has the last word on who runs in a thread; here is only the waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from weakref import WeakValueDictionary

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_gateway.turns.outcome import Draining
from bobbin_gateway.turns.request import TurnRequest
from bobbin_gateway.turns.source import Source
from bobbin_protocol.store.turns import BeginTurn, TurnBegun, TurnJoined


class NotYet(Exception):
    """The turn may begin later: `Beginnings.begin_later` waits for that."""


class Beginnings:
    """Where turns begin in this process."""

    def __init__(self, engine: TurnEngine, store: Store, settings: Settings) -> None:
        self._engine = engine
        self._store = store
        self._settings = settings
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """One for each thread in which a turn is about to begin: first come, first served."""

    async def begin(self, request: TurnRequest) -> Source:
        """Open a turn and start it, or find the one that the request has opened before; entered.

        Raises:
            StoreRefused: No such thread, the thread is locked, another turn runs (`reject`), and the like.
            NotYet: Something is in the way that may pass.
            Draining: The process takes no turns any more.
        """
        if self._engine.closed:
            raise Draining
        lock = self._lock(request)
        if lock.locked():
            raise NotYet("messages that came before wait")
        with self._under_way():
            async with lock:
                try:
                    return await self._attempt(request, supersede=False)
                except StoreUnavailable as error:
                    raise NotYet(str(error)) from error
                except StoreRefused as refused:
                    if self._waits(request, refused):
                        raise NotYet("a turn runs") from refused
                    raise

    async def begin_later(self, request: TurnRequest) -> Source:
        """The same, but wait for what is in the way, each thing as long as the settings allow.

        Raises:
            StoreRefused, StoreUnavailable, Draining: It was in vain.
        """
        clock = asyncio.get_running_loop().time
        queue_end, away_end = clock() + self._settings.queue_timeout_s, clock() + self._settings.begin_retry_s
        try:
            with self._under_way():
                async with _in_turn(self._lock(request), queue_end) as first:
                    if not first:
                        return await self._attempt(request, supersede=False)
                    return await self._attempt_until_begun(request, queue_end, away_end)
        except (StoreUnavailable, Draining, asyncio.CancelledError):
            self.give_up(request)
            raise

    async def _attempt_until_begun(self, request: TurnRequest, queue_end: float, away_end: float) -> Source:
        clock = asyncio.get_running_loop().time
        in_the_way, supersede = "", False
        while True:
            try:
                return await self._attempt(request, supersede=supersede)
            except StoreRefused as refused:
                if not self._waits(request, refused) or clock() > queue_end:
                    raise
                before, in_the_way = in_the_way, refused.problem.turn_id or ""
                if self._settings.double_texting == "queue" or request.was_asked_for:
                    await self._wait_for(request.owner_id, in_the_way, queue_end - clock())
                elif in_the_way != before:
                    await self._interrupt(request.owner_id, in_the_way)
                else:
                    supersede = True  # it was told to end, and does not
            except StoreUnavailable:
                if clock() > away_end:
                    raise
                await asyncio.sleep(_PAUSE_S)

    @contextmanager
    def _under_way(self) -> Generator[None]:
        """Within the block a process that is to stop waits for the turn."""
        self._engine.beginning += 1
        try:
            yield
        finally:
            self._engine.beginning -= 1

    def give_up(self, request: TurnRequest) -> None:
        """Nobody waits for the turn any more; if the store has opened it all the same, it will be ended."""
        self._engine.lease.release(request.owner_id, request.turn_id)
        self._engine.lease.begun(request.turn_id)

    async def _attempt(self, request: TurnRequest, *, supersede: bool) -> Source:
        engine = self._engine
        if engine.out_of_time:
            raise Draining
        if not (engine.lease.is_held or await engine.lease.renew()):  # who stood still may be dead
            raise StoreUnavailable("the lease cannot be taken")
        gateway_id = engine.lease.gateway_id
        wanted = BeginTurn(
            turn_id=request.turn_id,
            thread_id=request.thread_id,
            input=request.input,
            history_limit=self._settings.history_items,
            gateway_id=gateway_id,
            if_running="supersede" if supersede else "refuse",
            idempotency_key=request.idempotency_key,
            fingerprint=request.fingerprint,
            resend_window_s=self._settings.resend_window_s,
        )
        engine.lease.begins(request.turn_id)
        try:
            answer = await self._store.begin_turn(request.owner_id, wanted)
        except asyncio.CancelledError:
            self.give_up(request)
            raise
        except StoreRefused:
            engine.lease.begun(request.turn_id)
            raise
        match answer:
            case TurnBegun():
                try:
                    return self._started(request, answer, gateway_id)
                except Exception:
                    self.give_up(request)
                    raise
            case TurnJoined(turn_id=turn_id):
                engine.lease.begun(request.turn_id)
                return await engine.readers.join(
                    request.owner_id, turn_id, request.turn_id, resumable=request.resumable
                )

    def _started(self, request: TurnRequest, begun: TurnBegun, gateway_id: str) -> Source:
        running = self._engine.start(request, begun, gateway_id=gateway_id)
        self._engine.lease.begun(request.turn_id)
        running.enter(resumable=request.resumable)
        return running

    def _waits(self, request: TurnRequest, refused: StoreRefused) -> bool:
        may_wait = request.was_asked_for or self._settings.double_texting != "reject"
        return may_wait and refused.problem.code == "turn_running"

    async def _wait_for(self, owner_id: str, turn_id: str, wait_s: float) -> None:
        """Wait for the end of the turn in the way; if it runs elsewhere, for a moment."""
        running = self._engine.turns.get(owner_id, turn_id)
        if running is None:
            await asyncio.sleep(_PAUSE_S)
        else:
            await running.ends_within(wait_s)

    async def _interrupt(self, owner_id: str, turn_id: str) -> None:
        """Bring about the end of the turn in the way; the next attempt shows whether it came."""
        if running := self._engine.turns.get(owner_id, turn_id):
            await self._engine.interrupt(running)
            return
        with suppress(StoreRefused, StoreUnavailable):
            await self._engine.interrupt_elsewhere(owner_id, turn_id)

    def _lock(self, request: TurnRequest) -> asyncio.Lock:
        return self._locks.setdefault((request.owner_id, request.thread_id), asyncio.Lock())


@asynccontextmanager
async def _in_turn(lock: asyncio.Lock, deadline: float) -> AsyncGenerator[bool]:
    """Hold the lock within the block, unless it is not to be had until then (on the loop's clock)."""
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


_PAUSE_S = 0.1
