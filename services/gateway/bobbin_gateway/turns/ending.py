"""Storing a turn's outcome: what was said, what became of the thread, how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog
from msgspec import UNSET
from msgspec.structs import replace

from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import Outcome
from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.usage import usage_of
from bobbin_protocol.items import SDKHiddenContextItem, StoredItem, ThreadItem
from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.store.turns import FinishTurn
from bobbin_protocol.threads import ThreadMetadata

log = structlog.get_logger()

STOPPED_NOTE = "The user cancelled the stream. Stop responding to the prior request."
"""What a later turn's model reads after an answer that the user stopped (reference: the same note)."""

_LEAST_TRY_S = 1.0
"""However late it is, the store is asked once, and may take this long."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_FINAL = frozenset({"lease_lost", "not_found", "conflict"})
"""Refusals that are not for what a turn's end holds."""
_REFUSED = "what was said could not be stored"


async def finish(
    store: Store, running: RunningTurn, ending: Outcome, *, deadline: Callable[[], float]
) -> bool:
    """Store the outcome; while the store is away, try again until the deadline.

    Args:
        store: Where.
        running: The turn.
        ending: How it ended.
        deadline: When that is, on the loop's clock; it may come nearer meanwhile.

    Returns:
        Whether it is stored with all that was said. If not because it is another gateway's turn by now,
        `running.lost` says so.
    """
    turn = running.turn
    wanted = _finish_turn(running, ending)
    clock = asyncio.get_running_loop().time
    pause_s = _FIRST_PAUSE_S
    while not running.lost:
        try:
            async with asyncio.timeout_at(max(deadline(), clock() + _LEAST_TRY_S)):
                await store.finish_turn(turn.owner_id, turn.id, wanted)
        except StoreRefused as refused:
            log.error("turn refused by the store", turn_id=turn.id, problem=refused.problem.detail)
            if refused.problem.code == "lease_lost":
                running.lose()
            if refused.problem.code in _FINAL or wanted.error == _REFUSED:
                return False
            wanted = _with_less(wanted)
        except (StoreUnavailable, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            if clock() + pause_s > deadline():
                log.error("turn not saved", turn_id=turn.id, reason=reason)
                return False
            log.warning("store away, will try again", turn_id=turn.id, reason=reason)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        else:
            return wanted.error != _REFUSED
    return False


def _with_less(wanted: FinishTurn) -> FinishTurn:
    """What the store does not take it never would: then the end without the journal, or without anything.

    Who comes back for the rest of a turn that the journal lacks is told its items.
    """
    if wanted.journal:
        return replace(wanted, journal=[])
    return FinishTurn(
        state="failed",
        error=_REFUSED,
        gateway_id=wanted.gateway_id,
        event_count=wanted.event_count,
        deserted=wanted.deserted,
    )


def _finish_turn(running: RunningTurn, ending: Outcome) -> FinishTurn:
    return FinishTurn(
        state=ending.state,
        items=[_stored(item) for item in _items_to_keep(running, ending)],
        removed_item_ids=running.items.removed(),
        thread=_change(running),
        suggested_title=running.suggested_title,
        usage=usage_of(running.turn),
        error=ending.detail if ending.state in {"failed", "interrupted"} else None,
        gateway_id=running.tail.gateway_id,
        event_count=len(running.log.frames),
        journal=running.tail.close(),
        deserted=running.deserted,
    )


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
    change = thread_change(running.stored_thread, running.turn.thread)
    if change is not None and change.title == running.suggested_title:
        change.title = UNSET
    return change


def thread_change(before: ThreadMetadata, after: ThreadMetadata) -> ThreadChange | None:
    """Only what an agent has changed: someone else may have changed the rest meanwhile."""
    if before == after:
        return None
    return ThreadChange(
        title=UNSET if after.title == before.title else after.title,
        status=UNSET if after.status == before.status else after.status,
        allowed_image_domains=(
            UNSET
            if after.allowed_image_domains == before.allowed_image_domains
            else after.allowed_image_domains
        ),
        metadata=UNSET if after.metadata == before.metadata else after.metadata,
    )
