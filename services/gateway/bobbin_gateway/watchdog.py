"""A timer for silence that costs next to nothing to put off, as every event of every stream does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Watchdog:
    """Calls back when `renew` was not called for a while; may be renewed after that, too.

    Renewing only writes down the time: the timer looks at it when it is due, and goes back to sleep.
    """

    __slots__ = ("_deadline", "_due", "_expired", "_loop", "_timer")

    def __init__(self, silence_s: float, expired: Callable[[], None]) -> None:
        """Start; the first silence may last `silence_s`."""
        self._loop = asyncio.get_running_loop()
        self._expired = expired
        self._deadline = self._due = self._loop.time() + silence_s
        self._timer = self._loop.call_at(self._due, self._look)

    def renew(self, silence_s: float) -> None:
        """Something was heard; the next silence may last `silence_s`."""
        self._deadline = self._loop.time() + silence_s
        if self._deadline < self._due:
            self._arm()

    def cancel(self) -> None:
        """Do not call back; safe to repeat."""
        self._timer.cancel()

    def _arm(self) -> None:
        self._timer.cancel()
        self._due = self._deadline
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._deadline:
            self._arm()
        else:
            self._due = inf
            self._expired()
