"""Prefixed, time-ordered ids: ``thr_`` and a UUIDv7 (RFC 9562, 5.7) as 32 hex digits.

Ids of one process ascend strictly, also within a millisecond and when the clock steps back: later ids sort
later. Across processes they ascend as far as the clocks agree, so nothing may rely on it.
"""

import os
import threading
import time
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

IdKind: TypeAlias = Literal[
    "thread",
    "message",
    "tool_call",
    "workflow",
    "task",
    "attachment",
    "sdk_hidden_context",
    "turn",
    "gateway",
]
"""What an id is for. Items without a kind of their own (widgets, images) take ``message``."""

PREFIXES: Final[dict[IdKind, str]] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
    "turn": "trn",
    "gateway": "gw",
}

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:\-]+\Z")]
"""An id as callers send it: 1 to 128 ASCII letters, digits and ``_ . : -``, whoever made it."""

_RANDOM_BITS: Final = 74
_STEP_BITS: Final = 32


class _Clock:
    """Time and randomness as one number of 122 bits that only grows."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def tick(self) -> int:
        random = int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS)
        now = time.time_ns() // 1_000_000 << _RANDOM_BITS | random
        with self._lock:
            if now <= self._last:
                # A random step keeps ids hard to guess; its carry runs into the milliseconds (RFC 9562, 6.2).
                now = self._last + 1 + (random & ((1 << _STEP_BITS) - 1))
            self._last = now
        return now


_clock = _Clock()


def uuid7_hex() -> str:
    """Make a UUIDv7 as 32 lower-case hex digits, greater than every one this process made before."""
    number = _clock.tick()
    head, tail = number >> 62, number & ((1 << 62) - 1)
    milliseconds, high = head >> 12, head & 0xFFF
    return f"{milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | tail:032x}"


def new_id(kind: IdKind) -> str:
    """Make an id of the kind, 36 or 37 characters such as ``thr_0199c0de...``."""
    return f"{PREFIXES[kind]}_{uuid7_hex()}"
