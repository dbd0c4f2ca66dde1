"""What a server says of its progress is shown at the pace of who reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bobbin_gateway.tools.mcp.progress import shown_progress
from tests.mcp import Shown, until


@pytest.mark.parametrize(
    ("progress", "step"),
    [
        ((1, 4, None), "25%"),
        ((1, None, None), "1"),
        ((2.5, None, None), "2.5"),
        ((1, None, "half\nway"), "half way"),
        ((3, 4, "*nearly*"), r"\*nearly\* (75%)"),
        ((5, 4, "odd"), "odd"),
        ((float("nan"), 4, "odd"), "odd"),
        ((1, 0, None), "1"),
    ],
)
async def test_steps(progress: tuple[Any, Any, Any], step: str) -> None:
    shown = Shown()
    async with shown_progress(shown.context) as on_progress:
        await on_progress(*progress)
        await until(lambda: shown.steps)
    assert shown.steps == [step]


async def test_a_slow_reader_holds_up_no_server_and_gets_the_newest() -> None:
    steps: list[str] = []
    free = asyncio.Event()

    async def slow(text: str) -> None:
        await free.wait()
        steps.append(text)

    shown = Shown()
    shown.context._show_step = slow
    async with shown_progress(shown.context) as on_progress:
        await on_progress(0, 100, None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(1, 100):
            await asyncio.wait_for(on_progress(number, 100, None), 1)
        free.set()
        await until(lambda: len(steps) == 2)
    assert steps == ["0%", "99%"]


async def test_a_reader_that_fails_is_heard_of() -> None:
    async def broken(text: str) -> None:
        raise RuntimeError("no reader")

    shown = Shown()
    shown.context._show_step = broken

    async def report() -> None:
        async with shown_progress(shown.context) as on_progress:
            await on_progress(1, 2, None)
            await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match="no reader"):
        await report()
