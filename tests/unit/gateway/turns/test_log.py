"""The log of a turn and the followers that read it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.log import EventLog, Follower


async def read_all(follower: Follower) -> list[bytes]:
    pieces: list[bytes] = []
    while (piece := await follower.read()) is not None:
        pieces.append(piece)
    return pieces


async def test_frames_that_are_ready_together_leave_in_one_write() -> None:
    log = EventLog()
    for frame in (b"a", b"b", b"c"):
        log.append(frame)
    assert await Follower(log, 5.0).read() == b"abc"


async def test_a_lone_frame_leaves_at_once() -> None:
    log = EventLog()
    follower = Follower(log, 5.0)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    log.append(b"a")
    assert await asyncio.wait_for(reading, 1) == b"a"


async def test_a_late_follower_gets_everything_from_the_first_event() -> None:
    log = EventLog()
    log.append(b"a")
    log.append(b"b")
    log.end()
    assert await read_all(Follower(log, 5.0)) == [b"ab"]


async def test_a_follower_can_start_after_any_event() -> None:
    log = EventLog()
    for frame in (b"a", b"b", b"c"):
        log.append(frame)
    log.end()
    assert await read_all(Follower(log, 5.0, after=2)) == [b"c"]


async def test_silence_gives_nothing_and_loses_nothing() -> None:
    log = EventLog()
    follower = Follower(log, 0.01)
    assert [await follower.read(), await follower.read()] == [b"", b""]
    log.append(b"a")
    assert await follower.read() == b"a"
    assert await follower.read() == b""
    follower.leave()


async def test_the_end_of_the_log_ends_a_waiting_follower() -> None:
    log = EventLog()
    reading = asyncio.create_task(read_all(Follower(log, 5.0)))
    await asyncio.sleep(0)
    log.append(b"a")
    log.end()
    assert await asyncio.wait_for(reading, 1) == [b"a"]


async def test_leaving_ends_a_waiting_follower_at_once() -> None:
    follower = Follower(EventLog(), 60.0)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    follower.leave()
    follower.leave()
    assert await asyncio.wait_for(reading, 1) is None


@given(st.lists(st.one_of(st.just("read"), st.binary(min_size=1, max_size=4)), max_size=30))
async def test_whatever_the_interleaving_every_frame_is_read_once_and_in_order(
    steps: list[str | bytes],
) -> None:
    log = EventLog()
    follower = Follower(log, 0.0)
    received = b""
    for step in steps:
        if isinstance(step, bytes):
            log.append(step)
        else:
            received += await follower.read() or b""
    log.end()
    received += b"".join(await read_all(follower))
    assert received == b"".join(step for step in steps if isinstance(step, bytes))
