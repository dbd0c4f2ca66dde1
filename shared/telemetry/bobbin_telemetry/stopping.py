"""SIGTERM before a server listens to it."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def leave_when_told() -> None:
    """From now on, until someone else takes it over, the signal leaves all blocks, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)
