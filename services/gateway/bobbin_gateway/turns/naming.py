"""Naming a thread while its first answer is made."""

from __future__ import annotations

import asyncio

import structlog

from bobbin_gateway.agent import TitlingAgent, Turn
from bobbin_gateway.titles import title_by_model, title_by_rule

log = structlog.get_logger()


class Naming:
    """A title for a thread that has none: by model, beside the answer, where there is one for that."""

    __slots__ = ("_asking", "_turn")

    def __init__(self, titling_agent: TitlingAgent | None, turn: Turn) -> None:
        """Ask the model at once; `cancel` when done."""
        self._turn = turn
        self._asking: asyncio.Task[str | None] | None = None
        if turn.thread.title is None and turn.message is not None and titling_agent is not None:
            self._asking = asyncio.create_task(title_by_model(titling_agent, turn))

    async def title(self, wait_s: float) -> str | None:
        """What the model says, if it does within that time, else what the rule gives."""
        asking = self._asking
        if asking is None:
            return title_by_rule(self._turn.message)
        await asyncio.wait([asking], timeout=wait_s)
        if not asking.done():
            log.warning("no title in time", turn_id=self._turn.id)
        elif not asking.cancelled() and (error := asking.exception()) is not None:
            log.error("title failed", turn_id=self._turn.id, exc_info=error)
        elif not asking.cancelled():
            return asking.result()
        return title_by_rule(self._turn.message)

    def cancel(self) -> None:
        """Wait no longer for the model."""
        if self._asking is not None:
            self._asking.cancel()
