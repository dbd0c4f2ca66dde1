"""Stopping without losing an answer.

Granian, asked to stop, waits for its open requests, and only then tells the application: an open stream
would hold it up for as long as its turn likes. So the first word of SIGTERM comes here: turns end within
their grace period while everything still works, and then granian is told by SIGINT, which means the same.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

from bobbin_gateway.turns.engine import TurnEngine


@contextmanager
def finishing_first(engine: TurnEngine, tasks: asyncio.TaskGroup) -> Generator[None]:
    """Within the block SIGTERM ends the turns before the server."""
    loop = asyncio.get_running_loop()

    async def finish() -> None:
        await engine.close()
        signal.raise_signal(signal.SIGINT)

    def on_sigterm() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, _ignore)
        tasks.create_task(finish(), name="shutdown")

    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _ignore() -> None:
    """A second SIGTERM changes nothing: the first one is being obeyed."""
