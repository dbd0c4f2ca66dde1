"""A turn of a gateway that died, brought back from the journal as far as it got."""

from __future__ import annotations

from typing import cast

import msgspec
import structlog

from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent, ThreadUpdatedEvent
from bobbin_protocol.items import UserMessageItem
from bobbin_protocol.store.gateways import ClaimedTurn
from bobbin_protocol.store.journal import JournalChunk

log = structlog.get_logger()

_BETWEEN = b"\n\n"
_DATA = b"data: "
_decode = msgspec.json.Decoder(cast("type[ThreadStreamEvent]", ThreadStreamEvent)).decode


def restore(running: RunningTurn, claimed: ClaimedTurn) -> None:
    """Fill a fresh turn with what the journal has of it; all of that is safe already.

    If it has nothing, nobody who may come back was told anything: then the turn is told from its beginning.
    """
    for frame in frames_of(claimed.journal):
        running.log.append(frame)
        try:
            _replay(running, _decode(frame[len(_DATA) :]))
        except msgspec.MsgspecError as error:  # of another version of the gateway
            log.warning("event not understood", turn_id=claimed.turn_id, reason=str(error))
    running.log.secure(len(running.log.frames))
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


def frames_of(chunks: list[JournalChunk]) -> list[bytes]:
    """The frames of consecutive chunks, up to the first that is missing."""
    frames: list[bytes] = []
    for chunk in chunks:
        if chunk.first != len(frames) + 1:
            break
        frames += [frame + _BETWEEN for frame in chunk.data.split(_BETWEEN)[:-1]]
    return frames


def _replay(running: RunningTurn, event: ThreadStreamEvent) -> None:
    match event:
        case ThreadItemDoneEvent(item=UserMessageItem()):
            pass  # stored when the turn began
        case ThreadUpdatedEvent(thread=thread):
            running.adopt(thread)
        case _:
            running.items.apply(event)
