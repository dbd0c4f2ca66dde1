"""An answer before it is put into a dialect, and what a dialect makes of it."""

from __future__ import annotations

import time
from typing import Literal
from uuid import uuid4

import msgspec


class Call(msgspec.Struct, frozen=True):
    """A call of a tool."""

    id: str
    name: str
    pieces: list[str]
    """Of its arguments."""

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says."""

    model: str
    pieces: list[str]
    """The text of each delta."""
    calls: list[Call] = []
    """Calls of tools, behind the text."""
    input_tokens: int
    includes_usage: bool = False
    """Whether a Chat Completions stream tells the usage; a Responses stream always does."""
    refusal: bool = False
    background: bool = False
    """Whether a response goes on without its reader; Responses only."""
    parts: int = 1
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    fails_after: int | None = None
    """After so many deltas an error takes the place of the rest."""
    error_code: str = "server_error"
    error_shape: Literal["nested", "flat"] = "nested"
    id: str = msgspec.field(default_factory=lambda: uuid4().hex)
    created: int = msgspec.field(default_factory=lambda: int(time.time()))

    @property
    def speaks(self) -> bool:
        """Whether it has a message: calls may come alone."""
        return bool(self.pieces) or not self.calls

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        return len(self.pieces) + sum(len(call.pieces) for call in self.calls)


class Frames(msgspec.Struct, frozen=True):
    """The SSE blocks of one answer; of a failing one, up to its error."""

    head: bytes
    """Before the first delta."""
    deltas: list[bytes]
    tail: bytes
    """After the last."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The JSON body of an error status, and an error chunk of a Chat Completions stream."""

    error: ErrorBody
