"""The timer for silence."""

from __future__ import annotations

import asyncio

from bobbin_gateway.watchdog import Watchdog


def watched(silence_s: float) -> tuple[Watchdog, asyncio.Event]:
    expired = asyncio.Event()
    return Watchdog(silence_s, expired.set), expired


async def test_it_calls_back_after_silence() -> None:
    _, expired = watched(0.01)
    await asyncio.wait_for(expired.wait(), 5)


async def test_it_is_quiet_as_long_as_something_is_heard() -> None:
    watchdog, expired = watched(1.5)
    for _ in range(90):
        await asyncio.sleep(0.02)
        watchdog.renew(1.5)
    assert not expired.is_set()
    await asyncio.wait_for(expired.wait(), 5)


async def test_a_shorter_silence_counts_from_now() -> None:
    watchdog, expired = watched(60)
    watchdog.renew(0.01)
    await asyncio.wait_for(expired.wait(), 5)


async def test_it_can_be_renewed_after_it_called_back() -> None:
    watchdog, expired = watched(0.01)
    await asyncio.wait_for(expired.wait(), 5)
    expired.clear()
    watchdog.renew(0.01)
    await asyncio.wait_for(expired.wait(), 5)


async def test_cancelled_it_never_calls_back() -> None:
    watchdog, expired = watched(0.01)
    watchdog.cancel()
    watchdog.cancel()
    await asyncio.sleep(0.05)
    assert not expired.is_set()
