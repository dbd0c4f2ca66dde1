"""A turn of a gateway that died, brought back from the journal as far as it got."""

from __future__ import annotations

import msgspec
import structlog

from bobbin_gateway.turns.frames import events_of, frames_of
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent, ThreadUpdatedEvent
from bobbin_protocol.items import UserMessageItem
from bobbin_protocol.store.gateways import ClaimedTurn

log = structlog.get_logger()


def restore(running: RunningTurn, claimed: ClaimedTurn) -> None:
    """Fill a fresh turn with what the journal has of it; all of that is safe already.

    If it has nothing, nobody who may come back was told anything: then the turn is told from its beginning.
    """
    for frame in frames_of(claimed.journal):
        running.log.append(frame)
    running.log.secure(len(running.log.frames))
    try:
        for event in events_of(running.log.frames):
            _replay(running, event)
    except Exception:  # rather the turn's end with less than a turn that never ends
        log.exception("turn only restored in part", turn_id=claimed.turn_id)
    if not running.log.frames:
        message = running.turn.message if claimed.brought_message else None
        said = None if message is None else ThreadItemDoneEvent(item=message)
        running.open(created=claimed.created_thread, said=said)


def message_of(claimed: ClaimedTurn) -> UserMessageItem | None:
    """The message that the turn answers, unless it has been removed."""
    try:
        return None if claimed.message is None else msgspec.convert(claimed.message, UserMessageItem)
    except msgspec.ValidationError as error:
        log.warning("message not understood", turn_id=claimed.turn_id, reason=str(error))
        return None


def _replay(running: RunningTurn, event: ThreadStreamEvent) -> None:
    match event:
        case ThreadUpdatedEvent(thread=thread):
            running.adopt(thread)
        case ThreadItemDoneEvent(item=item) if isinstance(item, UserMessageItem):
            return  # stored when the turn began
        case _:
            running.items.apply(event)
