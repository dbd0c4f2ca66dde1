"""The log of a turn and the followers that read it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.log import EventLog, Follower


async def read_all(follower: Follower) -> list[list[bytes]]:
    pieces: list[list[bytes]] = []
    while (piece := await follower.read()) is not None:
        pieces.append(piece)
    return pieces


async def test_frames_that_are_ready_together_leave_in_one_write() -> None:
    log = EventLog()
    for frame in (b"a", b"b", b"c"):
        log.append(frame)
    assert await Follower(log, 5.0).read() == [b"a", b"b", b"c"]


async def test_a_lone_frame_leaves_at_once() -> None:
    log = EventLog()
    follower = Follower(log, 5.0)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    log.append(b"a")
    assert await asyncio.wait_for(reading, 1) == [b"a"]


async def test_a_late_follower_gets_everything_from_the_first_event() -> None:
    log = EventLog()
    log.append(b"a")
    log.append(b"b")
    log.end()
    assert await read_all(Follower(log, 5.0)) == [[b"a", b"b"]]


async def test_a_follower_can_start_after_any_event() -> None:
    log = EventLog()
    for frame in (b"a", b"b", b"c"):
        log.append(frame)
    log.end()
    assert await read_all(Follower(log, 5.0, after=2)) == [[b"c"]]


async def test_silence_gives_nothing_and_loses_nothing() -> None:
    log = EventLog()
    follower = Follower(log, 0.01)
    assert [await follower.read(), await follower.read()] == [[], []]
    log.append(b"a")
    assert await follower.read() == [b"a"]
    assert await follower.read() == []
    follower.leave()


async def test_the_end_of_the_log_ends_a_waiting_follower() -> None:
    log = EventLog()
    reading = asyncio.create_task(read_all(Follower(log, 5.0)))
    await asyncio.sleep(0)
    log.append(b"a")
    log.end()
    assert await asyncio.wait_for(reading, 1) == [[b"a"]]


async def test_leaving_ends_a_waiting_follower_at_once() -> None:
    follower = Follower(EventLog(), 60.0)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    follower.leave()
    follower.leave()
    assert await asyncio.wait_for(reading, 1) is None


async def test_a_reader_that_may_come_back_is_shown_safe_events_only() -> None:
    log = EventLog()
    for frame in (b"a", b"b", b"c"):
        log.append(frame)
    log.secure(2)
    follower = Follower(log, 0.0, safely=True)
    assert await follower.read() == [b"a", b"b"]
    assert await follower.read() == []
    reading = asyncio.create_task(Follower(log, 5.0, 2, safely=True).read())
    await asyncio.sleep(0)
    assert log.has_safe_reader
    log.secure(3)
    assert await asyncio.wait_for(reading, 1) == [b"c"]


async def test_what_never_became_safe_is_not_shown_at_the_end_either() -> None:
    log = EventLog()
    log.append(b"a")
    log.append(b"b")
    log.secure(1)
    log.end(farewell=b"sorry")
    assert await read_all(Follower(log, 5.0, safely=True)) == [[b"a"]]
    assert await read_all(Follower(log, 5.0)) == [[b"a", b"b"]]


@given(st.lists(st.sampled_from(["append", "secure", "read", "read safely"]), max_size=40))
async def test_whatever_the_interleaving_every_frame_is_read_once_and_in_order(steps: list[str]) -> None:
    log = EventLog()
    readers = {"read": Follower(log, 0.0), "read safely": Follower(log, 0.0, safely=True)}
    received: dict[str, list[bytes]] = {name: [] for name in readers}
    for step in steps:
        match step:
            case "append":
                log.append(b"%d " % len(log.frames))
            case "secure":
                log.secure(len(log.frames))
            case _:
                received[step] += await readers[step].read() or []
                assert step == "read" or readers[step].position <= log.safe
    log.secure(len(log.frames))
    log.end()
    for name, reader in readers.items():
        received[name] += [frame for piece in await read_all(reader) for frame in piece]
        assert received[name] == log.frames
