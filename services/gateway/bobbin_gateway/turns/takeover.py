"""A turn of a gateway that died, brought back from the journal as far as it got."""

from __future__ import annotations

import msgspec
import structlog

from bobbin_gateway.turns.frames import events_of, frames_of
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import (
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadStreamEvent,
    ThreadUpdatedEvent,
)
from bobbin_protocol.items import StoredItem, ThreadItem, UserMessageItem, thread_item_of
from bobbin_protocol.store.gateways import ClaimedTurn

log = structlog.get_logger()


def restore(running: RunningTurn, claimed: ClaimedTurn) -> None:
    """Fill a fresh turn with what the journal has of it; all of that is safe already.

    If it has nothing, nobody who may come back was told anything: then the turn is told from its beginning.
    """
    for frame in frames_of(claimed.journal):
        running.log.append(frame)
    running.log.secure(len(running.log.frames))
    answered = _item(claimed, claimed.subject)
    try:
        for event in events_of(running.log.frames):
            _replay(running, event, answered)
    except Exception:  # rather the turn's end with less than a turn that never ends
        log.exception("turn only restored in part", turn_id=claimed.turn_id)
    if not running.log.frames:
        said = running.turn.message if claimed.brought_message else None
        running.open(created=claimed.created_thread, said=said, answered=answered)


def message_of(claimed: ClaimedTurn) -> UserMessageItem | None:
    """The message that the turn answers, unless it answers none, or it has been removed."""
    message = _item(claimed, claimed.message)
    return message if isinstance(message, UserMessageItem) else None


def _item(claimed: ClaimedTurn, item: StoredItem | None) -> ThreadItem | None:
    try:
        return None if item is None else thread_item_of(item)
    except msgspec.ValidationError as error:
        log.warning("item not understood", turn_id=claimed.turn_id, reason=str(error))
        return None


def _replay(running: RunningTurn, event: ThreadStreamEvent, answered: ThreadItem | None) -> None:
    match event:
        case ThreadUpdatedEvent(thread=thread):
            running.adopt(thread)
        case ThreadItemDoneEvent(item=item) if isinstance(item, UserMessageItem):
            return  # stored when the turn began
        case ThreadItemReplacedEvent(item=item) if item == answered:
            return  # stored when the turn began
        case _:
            running.items.apply(event)
