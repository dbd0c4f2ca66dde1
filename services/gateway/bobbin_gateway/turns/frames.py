"""Frames: a turn's events as they are journalled and sent, each ``data: {...}`` and a blank line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import msgspec
import structlog

from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.store.journal import JournalChunk

log = structlog.get_logger()

_DATA = b"data: "
_END = b"\n\n"
"""Stands nowhere within a frame: its JSON is on one line."""
_decode = msgspec.json.Decoder(cast("type[ThreadStreamEvent]", ThreadStreamEvent)).decode


def frames_in(chunk: JournalChunk) -> list[bytes]:
    """The frames of a chunk."""
    return [frame + _END for frame in chunk.data.split(_END)[:-1]]


def frames_of(chunks: Iterable[JournalChunk]) -> list[bytes]:
    """The frames of consecutive chunks, up to the first that is missing."""
    frames: list[bytes] = []
    for chunk in chunks:
        if chunk.first != len(frames) + 1:
            break
        frames += frames_in(chunk)
    return frames


def json_of(frame: bytes) -> bytes:
    """The event of a frame as it was encoded."""
    return frame.removeprefix(_DATA).removesuffix(_END)


def events_of(frames: Iterable[bytes]) -> Iterator[ThreadStreamEvent]:
    """The events of frames, but for those that only another version of the gateway understands."""
    for frame in frames:
        try:
            yield _decode(json_of(frame))
        except msgspec.MsgspecError as error:
            log.warning("event not understood", reason=str(error))
