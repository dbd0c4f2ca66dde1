"""Runs turns: each as a task of its own, whoever reads it or does not.

Begin is one store call, finish is one store call. In between, the agent's events are encoded once and
appended to the turn's log, in the order in which the agent yields them.

A turn always ends, and always in `finish`: completed, failed, cancelled (its last reader left, or a new
message came) or interrupted (the gateway stopped). What was said until then is kept.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec import UNSET

from bobbin_gateway.agent import Agent, TitlingAgent, Turn
from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.titles import title_by_model, title_by_rule
from bobbin_gateway.turns import outcome
from bobbin_gateway.turns.answering import answer
from bobbin_gateway.turns.log import Follower
from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import ThreadItemDoneEvent
from bobbin_protocol.ids import new_id
from bobbin_protocol.items import (
    SDKHiddenContextItem,
    StoredItem,
    ThreadItem,
    UserMessageItem,
)
from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.store.turns import BeginTurn, CreateThread, FinishTurn, RetryAfterItem, TurnInput

log = structlog.get_logger()

STOPPED_NOTE = "The user cancelled the stream. Stop responding to the prior request."
"""What a later turn's model reads after an answer that the user stopped (reference: the same note)."""


class TurnEngine:
    """All turns of one gateway process."""

    def __init__(
        self,
        *,
        agent: Agent,
        titling_agent: TitlingAgent | None,
        store: Store,
        settings: Settings,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._agent = agent
        self._titling_agent = titling_agent
        self._store = store
        self._settings = settings
        self._tasks = tasks
        self._running: dict[tuple[str, str], RunningTurn] = {}
        """By owner and thread: at most one turn runs in a thread."""
        self._beginning: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """A lock for each thread in which a turn is about to begin."""
        self._closed = False

    async def begin(
        self, owner_id: str, thread_id: str, turn_input: TurnInput, *, model: str | None, locale: str | None
    ) -> RunningTurn:
        """Open a turn and start its task.

        Raises:
            StoreRefused: No such thread, the thread is locked, and the like.
            StoreUnavailable: The store cannot be reached.
        """
        if self._closed:
            raise StoreUnavailable("the gateway is stopping")
        key = owner_id, thread_id
        lock = self._beginning.setdefault(key, asyncio.Lock())
        async with lock:  # messages that arrive together are heard one after the other
            await self.interrupt(owner_id, thread_id)
            return await self._begin(owner_id, thread_id, turn_input, model=model, locale=locale)

    async def _begin(
        self, owner_id: str, thread_id: str, turn_input: TurnInput, *, model: str | None, locale: str | None
    ) -> RunningTurn:
        turn_id = new_id("turn")
        begun = await self._store.begin_turn(
            owner_id,
            BeginTurn(
                turn_id=turn_id,
                thread_id=thread_id,
                input=turn_input,
                history_limit=self._settings.history_items,
            ),
        )
        message = msgspec.convert(begun.message, UserMessageItem)
        turn = Turn(
            id=turn_id,
            owner_id=owner_id,
            thread=begun.thread,
            history=_known_items(begun.history),
            message=message,
            model=model,
            locale=locale,
        )
        said = None if isinstance(turn_input, RetryAfterItem) else ThreadItemDoneEvent(item=message)
        running = RunningTurn(turn, self._settings.max_output_bytes)
        running.open(created=isinstance(turn_input, CreateThread), said=said)
        self._running[owner_id, thread_id] = running
        running.task = self._tasks.create_task(self._run(running), name=turn_id)
        return running

    async def interrupt(self, owner_id: str, thread_id: str) -> None:
        """End the turn that runs in the thread, if any, and wait until its partial answer is stored."""
        running = self._running.get((owner_id, thread_id))
        if running is not None and running.task is not None:
            running.stop(outcome.CANCELLED)
            await asyncio.wait([running.task], timeout=self._settings.store_timeout_s)

    def rename(self, owner_id: str, thread_id: str, title: str) -> None:
        """Tell the turn that runs in the thread, if any, that its thread has a name now."""
        if running := self._running.get((owner_id, thread_id)):
            running.rename(title)

    def leave(self, running: RunningTurn, follower: Follower) -> None:
        """A follower is gone; a turn that nobody reads any more is cancelled after the grace period."""
        follower.leave()
        running.followers -= 1
        if running.followers == 0 and not running.log.ended:
            grace_s = self._settings.cancel_grace_s
            asyncio.get_running_loop().call_later(grace_s, _stop_if_unread, running)

    async def close(self) -> None:
        """Let running turns end within the grace period, then end the rest honestly. May be called again."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.shutdown_grace_s
        while tasks := [running.task for running in self._running.values() if running.task is not None]:
            if clock() < deadline:
                await asyncio.wait(tasks, timeout=deadline - clock())
                continue
            self._closed = True
            for running in self._running.values():
                running.stop(outcome.SHUT_DOWN)
            await asyncio.wait(tasks)

    async def _run(self, running: RunningTurn) -> None:
        turn, last_word = running.turn, None
        key = turn.owner_id, turn.thread.id
        try:
            ending = await self._answer_and_title(running)
            if ending.error is not None:
                running.tell(ending.error)
            _log_ending(turn, ending)
            if not await self._finish(running, ending):
                last_word = outcome.UNSAVED
        except Exception:  # a bug of ours must not end the other turns of the process
            log.exception("turn lost", turn_id=turn.id)
            last_word = outcome.UNSAVED
        finally:
            if self._running.get(key) is running:
                del self._running[key]
            running.close(last_word)

    async def _answer_and_title(self, running: RunningTurn) -> Outcome:
        turn = running.turn
        naming: asyncio.Task[str | None] | None = None
        if turn.thread.title is None and self._titling_agent is not None:
            naming = asyncio.create_task(title_by_model(self._titling_agent, turn))
        ending = await answer(self._agent, running, self._settings)
        running.settle()
        if turn.thread.title is None:
            running.suggest(await self._title(turn, naming))
        elif naming is not None:
            naming.cancel()
        return ending

    async def _title(self, turn: Turn, naming: asyncio.Task[str | None] | None) -> str | None:
        if naming is None:
            return title_by_rule(turn.message)
        await asyncio.wait([naming], timeout=self._settings.title_wait_s)
        if not naming.done():
            naming.cancel()
            log.warning("no title in time", turn_id=turn.id)
        elif not naming.cancelled() and (error := naming.exception()) is not None:
            log.error("title failed", turn_id=turn.id, exc_info=error)
        elif not naming.cancelled():
            return naming.result()
        return title_by_rule(turn.message)

    async def _finish(self, running: RunningTurn, ending: Outcome) -> bool:
        """Store the outcome; while the store is away, try again until the time for it is up.

        Returns:
            Whether it is stored.
        """
        turn = running.turn
        finish = FinishTurn(
            state=ending.state,
            items=[_stored(item) for item in _items_to_keep(running, ending)],
            removed_item_ids=running.items.removed(),
            thread=_change(running),
            suggested_title=running.suggested_title,
            usage=turn.usage,
            error=ending.detail if ending.state == "failed" else None,
        )
        clock = asyncio.get_running_loop().time
        deadline, pause_s = clock() + self._settings.store_retry_s, 0.1
        while True:
            try:
                await self._store.finish_turn(turn.owner_id, turn.id, finish)
            except StoreRefused as refused:
                log.error("turn refused by the store", turn_id=turn.id, problem=refused.problem.detail)
                return False
            except StoreUnavailable as error:
                if clock() + pause_s > deadline:
                    log.error("turn not saved", turn_id=turn.id, reason=str(error))
                    return False
                log.warning("store away, will try again", turn_id=turn.id, reason=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                return True


_LONGEST_PAUSE_S = 2.0


def _stop_if_unread(running: RunningTurn) -> None:
    if running.followers == 0:
        running.stop(outcome.CANCELLED)


def _known_items(items: list[StoredItem]) -> list[ThreadItem]:
    """Typed items; a kind that this version does not know is left out of the model's context."""
    known: list[ThreadItem] = []
    for item in items:
        try:
            known.append(msgspec.convert(item, ThreadItem))
        except msgspec.ValidationError as error:
            log.warning(
                "item not understood", item_id=item.get("id"), type=item.get("type"), reason=str(error)
            )
    return known


def _items_to_keep(running: RunningTurn, ending: Outcome) -> list[ThreadItem]:
    """All items that are done, and a note when the user stopped the answer."""
    turn = running.turn
    items = running.items.done()
    if ending.state == "cancelled":
        note = SDKHiddenContextItem(
            id=turn.new_id("sdk_hidden_context"),
            thread_id=turn.thread.id,
            created_at=datetime.now(UTC),
            content=STOPPED_NOTE,
        )
        items.append(note)
    return items


def _stored(item: ThreadItem) -> StoredItem:
    return msgspec.to_builtins(item)


def _change(running: RunningTurn) -> ThreadChange | None:
    """Only what the agent changed: someone else may have changed the rest meanwhile."""
    before, after = running.stored_thread, running.turn.thread
    if before == after:
        return None
    return ThreadChange(
        title=UNSET if after.title in {before.title, running.suggested_title} else after.title,
        status=UNSET if after.status == before.status else after.status,
        allowed_image_domains=(
            UNSET
            if after.allowed_image_domains == before.allowed_image_domains
            else after.allowed_image_domains
        ),
        metadata=UNSET if after.metadata == before.metadata else after.metadata,
    )


def _log_ending(turn: Turn, ending: Outcome) -> None:
    if ending.unexpected is not None:
        log.error("turn failed", turn_id=turn.id, detail=ending.detail, exc_info=ending.unexpected)
    elif ending.state == "failed":
        log.warning("turn failed", turn_id=turn.id, detail=ending.detail)
    else:
        log.debug("turn ended", turn_id=turn.id, state=ending.state)
