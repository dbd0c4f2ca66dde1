"""What the server sends in answer to a request, and when: no I/O here."""

from __future__ import annotations

from enum import Enum

import msgspec

from bobbin_gateway.demo_model.answer import ErrorBody, ErrorResponse, Frames
from bobbin_gateway.demo_model.script import Script

Write = tuple[float, bytes]
"""Seconds to wait, then bytes to send."""

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
HTML = "text/html"
GARBAGE = b'data: {"id":"chatcmpl-1","type":"response.output_text.delta", oh no\n\n'
"""A whole SSE block whose data is not JSON."""


class Ending(Enum):
    """What happens after the last write."""

    COMPLETE = "complete"
    STALL = "stall"
    CUT = "cut"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP response."""

    status: int = 200
    content_type: str = JSON
    retry_after: float | None = None
    """Seconds."""
    head_s: float = 0
    """Wait before the status line."""
    writes: list[Write]
    ending: Ending = Ending.COMPLETE
    background: bool = False
    """Whether the answer is made even if nobody reads it."""
    cut_after: int | None = None
    """Of a background answer: the deltas after which each connection that reads it is cut."""

    @property
    def is_immediate(self) -> bool:
        """Whether it is one write, at once."""
        waits = self.head_s or len(self.writes) > 1 or self.writes[0][0]
        return not waits and self.ending is Ending.COMPLETE


def error(status: int, message: str, code: str | None = None, retry_after: float | None = None) -> Reply:
    """An error status with the body that OpenAI's API gives it."""
    code = code or _CODES.get(status)
    kind = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    body = ErrorResponse(ErrorBody(message=message, type=kind, code=code))
    return Reply(status=status, retry_after=retry_after, writes=[(0, msgspec.json.encode(body))])


def scripted(frames: Frames, script: Script) -> Reply:
    """The stream of a script that does not refuse at the start."""
    deltas, tail, ending = list(frames.deltas), frames.tail, Ending.COMPLETE
    if script.garbage is not None and script.garbage <= len(deltas):
        deltas[script.garbage - 1] = GARBAGE
    for after, how in ((script.stall_after, Ending.STALL), (script.cut_after, Ending.CUT)):
        if after is not None:
            deltas, tail, ending = deltas[:after], b"", how
    writes = _paced(Frames(frames.head, deltas, tail), script)
    return Reply(content_type=SSE, head_s=script.head_ms / 1000, writes=writes, ending=ending)


def in_background(answer: Reply, script: Script) -> Reply:
    """The same, made whether anyone reads it or not; what is cut is the connection, never the answer."""
    return msgspec.structs.replace(answer, background=True, cut_after=script.cut_after)


def chunked(body: bytes, chunk: int, delay_s: float) -> list[Write]:
    """A body in writes of so many bytes (0: one write)."""
    size = chunk or max(1, len(body))
    starts = range(0, len(body), size)
    return [(delay_s if start else 0, body[start : start + size]) for start in starts] or [(0, b"")]


def _paced(frames: Frames, script: Script) -> list[Write]:
    """Opening events leave with the first delta unless that is delayed, closing ones with the last."""
    deltas = frames.deltas
    group = script.per_write or (1 if script.delay_ms else max(1, len(deltas)))
    bodies = [b"".join(deltas[start : start + group]) for start in range(0, len(deltas), group)] or [b""]
    bodies[-1] += frames.tail
    first, *others = bodies
    opening: list[Write] = [(0, frames.head + first)]
    if script.first_ms:
        opening = [(0, frames.head), (script.first_ms / 1000, first)]
    return opening + [(script.delay_ms / 1000, body) for body in others]


_SERVER_ERROR = 500
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded", 500: "server_error"}
