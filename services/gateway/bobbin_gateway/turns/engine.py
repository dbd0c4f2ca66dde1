"""Runs turns: each as a task of its own, whoever reads it or does not.

Begin is one store call, finish is one store call. In between, the agent's events are encoded once and
appended to the turn's log, in the order in which the agent yields them; the journal takes them from there.

A turn always ends, and always in `_run`: completed, failed, cancelled (its last reader left, or a new
message came), interrupted (its gateway stopped or died), or, without a word to the store, by becoming another
gateway's. What was said until then is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf

import structlog
from structlog.contextvars import bind_contextvars

from bobbin_gateway import metrics
from bobbin_gateway.abilities import Abilities
from bobbin_gateway.agent import ContinuingAgent, Files, Turn
from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store
from bobbin_gateway.turns import outcome
from bobbin_gateway.turns.answering import Answering, answer
from bobbin_gateway.turns.desertion import Desertion
from bobbin_gateway.turns.early import StoringEarly
from bobbin_gateway.turns.ending import finish
from bobbin_gateway.turns.journal import Journal
from bobbin_gateway.turns.lease import Lease
from bobbin_gateway.turns.measures import turn_began, turn_ended
from bobbin_gateway.turns.naming import Naming
from bobbin_gateway.turns.opening import Opening
from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.readers import Readers
from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.request import TurnRequest
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.spans import tell_ending, turn_span
from bobbin_gateway.turns.tail import Tail
from bobbin_gateway.turns.takeover import message_of, restore
from bobbin_gateway.turns.watcher import Watcher
from bobbin_protocol.store.gateways import ClaimedTurn
from bobbin_protocol.store.turns import TurnBegun, TurnRecord

log = structlog.get_logger()

STOPPING_S = 10.0
"""What a process that stops may take after the grace period: to hand over, and to store the last answers."""
_HAND_OVER_S = 2.0
_PAUSE_S = 0.1


class TurnEngine:
    """All turns of one gateway process."""

    def __init__(
        self,
        *,
        abilities: Abilities,
        store: Store,
        settings: Settings,
        tasks: asyncio.TaskGroup,
        files_of: Callable[[str, str], Files | None] = lambda _owner_id, _thread_id: None,
    ) -> None:
        self._abilities = abilities
        self._store = store
        self._settings = settings
        self._tasks = tasks
        self._files_of = files_of
        """An owner's files, and a place for those that are made in a thread."""
        self.turns = RunningTurns()
        self.journal = Journal(store, self.turns, settings)
        self.lease = Lease(store, self.turns, settings)
        self.watcher = Watcher(store, settings)
        self._desertion = Desertion(store, settings, tasks)
        self.readers = Readers(self.turns, self.watcher, self._desertion, store, settings)
        self.draining = False
        """Whether the process is about to stop, and others should get new turns."""
        self.stopped = asyncio.Event()
        """Set when no turn runs here any more, and none will: whoever still reads is to read elsewhere."""
        self.closed = False
        """Whether new requests are refused; those that wait for their turn to begin still may."""
        self.beginning = 0
        """How many do (`turns.beginning`)."""
        self.out_of_time = False
        """Whether they may no more."""
        self._last_moment = inf
        """When (on the loop's clock) a process that stops must be done."""

    async def run(self) -> None:
        """Journal, lease and watcher; for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.journal.run(), name="journal")
            tasks.create_task(self.journal.find_checkpoints(), name="checkpoints")
            tasks.create_task(self.lease.run(self.take_over), name="lease")
            tasks.create_task(self.watcher.run(), name="watcher")

    def start(self, request: TurnRequest, begun: TurnBegun, *, gateway_id: str) -> RunningTurn:
        """Run a turn that the store has opened.

        Args:
            request: What it is to do.
            begun: The store's answer.
            gateway_id: Under whose lease it was opened.
        """
        opening = Opening(request, begun)
        running = self._prepare(opening.turn, gateway_id)
        running.asked_at = request.asked_at
        opening.tell(running)
        self._launch(running, opening.answering(self._abilities))
        self.watcher.hurry(request.owner_id)
        return running

    def take_over(self, claimed: ClaimedTurn) -> None:
        """Bring a turn of a dead gateway to its end, or go on with it."""
        turn = Turn(
            id=claimed.turn_id,
            owner_id=claimed.owner_id,
            thread=claimed.thread,
            history=[],
            message=message_of(claimed),
        )
        running = self._prepare(turn, self.lease.gateway_id)
        running.outlives_readers = running.tail.wanted = True
        restore(running, claimed)
        metrics.TURNS_TAKEN_OVER.inc()
        answering: Answering = partial(self._abilities.agent.respond, turn)
        continuing = self._abilities.continuing
        if claimed.checkpoint is None or continuing is None:
            running.stop(outcome.CANCELLED if claimed.cancel_requested else outcome.ORPHANED)
        elif claimed.cancel_requested or claimed.state != "running":
            running.stop(outcome.CANCELLED)
            self._tasks.create_task(_abandon(continuing, turn, claimed.checkpoint))
        else:
            turn.checkpoint = claimed.checkpoint
            running.tail.mark()
            answering = partial(continuing.resume, turn, running.items.items(), claimed.checkpoint)
        self._launch(running, answering, taken_over=True)

    def _prepare(self, turn: Turn, gateway_id: str) -> RunningTurn:
        turn.files = self._files_of(turn.owner_id, turn.thread.id)
        tail = Tail(turn, gateway_id, self.journal)
        return RunningTurn(turn, tail, self._settings.max_output_bytes, self._desertion.lost)

    def _launch(self, running: RunningTurn, answering: Answering, *, taken_over: bool = False) -> None:
        self.turns.add(running)
        turn_began(running)
        self._tasks.create_task(self._run(running, answering, taken_over=taken_over), name=running.turn_id)

    def rename(self, owner_id: str, thread_id: str, title: str) -> None:
        """The user has given the thread a name: tell the turn that runs in it, and those who watch."""
        if running := self.turns.in_thread(owner_id, thread_id):
            running.rename(title)
        self.watcher.hurry(owner_id)

    async def interrupt_thread(self, owner_id: str, thread_id: str) -> None:
        """End the turn that runs in the thread, if any, wherever it runs; wait until its answer is stored.

        Raises:
            StoreRefused: No such thread.
            StoreUnavailable: The store cannot be reached.
        """
        if running := self.turns.in_thread(owner_id, thread_id):
            await self.interrupt(running)
            return
        page = await self._store.list_items(owner_id, thread_id, 1, "desc", None)
        if page.running_turn_id is not None:
            await self.interrupt_elsewhere(owner_id, page.running_turn_id)

    async def interrupt(self, running: RunningTurn) -> None:
        """End a turn because something else is wanted in its thread; wait until its answer is stored."""
        running.stop(outcome.CANCELLED)
        await running.ends_within(self._settings.store_timeout_s)

    async def interrupt_elsewhere(self, owner_id: str, turn_id: str) -> TurnRecord:
        """The same for a turn that another gateway runs; how it stands then, or after a while.

        Raises:
            StoreRefused: No such turn.
            StoreUnavailable: The store cannot be reached.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.lease_s
        record = await self._store.cancel_turn(owner_id, turn_id)
        while record.state == "running" and clock() < deadline:
            await asyncio.sleep(_PAUSE_S)
            record = await self._store.get_turn(owner_id, turn_id)
        return record

    async def close(self) -> None:
        """Take no new turns, let running ones end within the grace period, then hand over or end the rest.

        May be called again.
        """
        if not self.draining:
            self.draining = True
            await asyncio.sleep(self._settings.drain_notice_s)
        self.closed = True
        self.lease.stop_claiming()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.shutdown_grace_s
        self._last_moment = min(self._last_moment, deadline + STOPPING_S - _HAND_OVER_S)
        while (self.turns.all() or self.beginning) and clock() < self._last_moment + _HAND_OVER_S:
            if clock() < deadline:
                await self._some_progress(deadline - clock())
                continue
            self.out_of_time = True
            await self._hand_over()
            self.turns.stop([running.turn_id for running in self.turns.all()], outcome.SHUT_DOWN)
            await self._some_progress(_PAUSE_S)
        self.readers.closed = True
        self.stopped.set()
        self.watcher.close()

    async def _some_progress(self, timeout_s: float) -> None:
        """Wait until a turn has ended; or for a moment, as long as turns may begin."""
        pause_s = min(_PAUSE_S, timeout_s) if self.beginning else timeout_s
        if turns := self.turns.all():
            await turns[0].ends_within(pause_s)
        else:
            await asyncio.sleep(pause_s)

    async def _hand_over(self) -> None:
        """Release those turns that another gateway can go on with, with all that they have said."""
        going = [running for running in self.turns.all() if running.turn.checkpoint is not None]
        if not going:
            return
        await self.journal.flush(_HAND_OVER_S)
        for running in going:
            running.lose()
            self.lease.release(running.turn.owner_id, running.turn_id)
        for running in going:
            await running.ends_within(_HAND_OVER_S)
        await self.lease.renew()

    async def _run(self, running: RunningTurn, answering: Answering, *, taken_over: bool) -> None:
        turn, ending, stored = running.turn, outcome.BROKEN, False
        bind_contextvars(turn_id=turn.id, thread_id=turn.thread.id)  # in this task, and those that it begins
        with turn_span(turn, taken_over=taken_over) as running.span:
            try:
                ending = await self._answer(running, answering)
                tell_ending(running, ending)
                if not running.lost and ending.error is not None:
                    running.tell(ending.error)
                stored = not running.lost and await finish(
                    self._store, running, ending, deadline=self._deadline()
                )
            except Exception as error:  # a bug of ours must not end the other turns of the process
                log.exception("turn lost", turn_id=turn.id)
                running.span.fail(type(error).__name__)
            finally:
                self._forget(running, stored=stored)
                unsaved = outcome.LOST.error if running.lost else outcome.UNSAVED
                running.close(None if stored else unsaved)
                turn_ended(running, ending, stored=stored)

    def _deadline(self) -> Callable[[], float]:
        """Until when (on the loop's clock) a turn that ends now waits for a store that is away."""
        since = self.journal.away_since or asyncio.get_running_loop().time()
        return lambda: min(since + self._settings.store_retry_s, self._last_moment)

    def _forget(self, running: RunningTurn, *, stored: bool) -> None:
        self.turns.remove(running)
        running.tail.end()
        if stored:
            running.log.secure(len(running.log.frames))
        elif not running.lost:
            self.lease.release(running.turn.owner_id, running.turn_id)  # whoever claims it ends it
        self.watcher.hurry(running.turn.owner_id)

    async def _answer(self, running: RunningTurn, answering: Answering) -> Outcome:
        """Let the agent answer, finish what it left unfinished, name the thread."""
        naming = Naming(self._abilities.titling, running.turn)
        try:
            if running.stopped.done():
                ending = running.stopped.result()
            else:
                async with StoringEarly(self._store, running):
                    ending = await answer(answering, running, self.journal, self._settings)
            running.settle()
            if running.turn.thread.title is None:
                wait_s = self._settings.title_wait_s if ending is outcome.COMPLETED else 0
                running.suggest(await naming.title(wait_s))
        finally:
            naming.cancel()
        return ending


async def _abandon(agent: ContinuingAgent, turn: Turn, checkpoint: bytes) -> None:
    try:
        await agent.abandon(checkpoint)
    except Exception:  # it is anyone's code, and must not end the other turns of the process
        log.exception("agent cannot abandon", turn_id=turn.id)
