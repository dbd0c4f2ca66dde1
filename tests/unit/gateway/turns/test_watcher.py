"""What happens elsewhere, pieced together from what the store tells."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.watcher import RemoteTurn, WatchedFeed, Watcher
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.watch import Change, Changes, TurnProgress
from tests.unit.gateway.turns.broken_store import SETTINGS, broken_store


def remote() -> RemoteTurn:
    return RemoteTurn("ann", "trn_1", lambda _: None)


def frames(first: int, last: int) -> list[bytes]:
    return [b"data: %d\n\n" % number for number in range(first, last + 1)]


def chunk(first: int, last: int) -> JournalChunk:
    return JournalChunk(first=first, last=last, data=b"".join(frames(first, last)))


async def test_no_such_turn_is_found_out_at_the_first_look() -> None:
    turn = remote()
    turn.take(TurnProgress(state=None))
    assert turn.found.is_set()
    assert (turn.state, turn.log.moved) == (None, True)


async def test_a_turn_that_ended_is_whole_once_all_its_events_are_there() -> None:
    turn = remote()
    turn.take(TurnProgress(state="completed", event_count=4, journal=[chunk(1, 4)]))
    assert turn.found.is_set()
    assert (turn.log.ended, turn.log.moved, turn.log.safe) == (True, False, 4)


async def test_a_turn_without_journal_is_told_in_another_form_after_a_second_look() -> None:
    turn = remote()
    turn.take(TurnProgress(state="completed", event_count=4))
    assert not turn.found.is_set()
    turn.take(TurnProgress(state="completed", event_count=4))
    assert turn.found.is_set()
    assert turn.log.moved


async def test_a_journal_that_comes_in_parts_is_whole_before_anything_is_said_of_the_turn() -> None:
    turn = remote()
    reaching = asyncio.create_task(turn.reached(3))
    chunks = [JournalChunk(first=n, last=n, data=b"data: {}\n\n") for n in (1, 2, 3)]
    for chunk in chunks[:2]:
        turn.take(TurnProgress(state="completed", event_count=3, journal=[chunk], more=True))
        await asyncio.sleep(0)
        assert not reaching.done()
    turn.take(TurnProgress(state="completed", event_count=3, journal=[chunks[2]]))
    await asyncio.wait_for(reaching, 1)
    assert (len(turn.log.frames), turn.log.ended, turn.log.moved) == (3, True, False)


async def test_a_journal_with_a_gap_is_given_up_after_a_second_look_however_much_comes_behind_the_gap() -> (
    None
):
    """It has expired in part: asking for the rest again and again would help nobody."""
    turn = remote()
    behind = [JournalChunk(first=n, last=n, data=b"data: {}\n\n") for n in (5, 6)]
    looks = [
        turn.take(TurnProgress(state="completed", event_count=9, journal=behind, more=True)) for _ in "ab"
    ]
    assert looks == [False, False]
    assert turn.found.is_set()
    assert turn.log.moved


async def test_a_turn_whose_length_nobody_knows_is_told_in_another_form() -> None:
    """It was ended by another service, or by a store of before the journal."""
    turn = remote()
    turn.take(TurnProgress(state="completed", event_count=0))
    assert turn.found.is_set()
    assert turn.log.moved


async def test_however_much_happens_looks_stay_apart() -> None:
    looks: list[float] = []

    async def watch(body: Any) -> dict[str, Any]:
        looks.append(time.monotonic())
        return {"changes": [{"position": "1"} for _ in body["changes"]]}

    async def hurry(owner_id: str, looked: int) -> list[float]:
        """Hurry until there were so many looks: the time from each to the next."""
        looks.clear()
        while len(looks) < looked:
            watcher.hurry(owner_id)
            await asyncio.sleep(0.0025)
        return [later - earlier for earlier, later in pairwise(looks)]

    async with broken_store(watch=watch) as store:
        watcher = Watcher(store, SETTINGS)
        watcher.add(WatchedFeed("ann", None, "1"))
        watching = asyncio.create_task(watcher.run())
        began = time.monotonic()
        busy = await hurry("ann", 15)
        took = time.monotonic() - began
        quiet = await hurry("someone without a feed", 6)
        watching.cancel()
    assert min(busy) < 0.09  # sooner for those who watch
    assert took > 0.3  # but not at once: 25 ms apart
    assert min(quiet[2:]) > 0.09  # every 100 ms, once nobody is in a hurry


async def test_who_waits_for_a_turn_is_not_left_waiting_by_a_process_that_stops() -> None:
    turn = remote()
    reaching = asyncio.create_task(turn.reached(5))
    await asyncio.sleep(0)
    turn.give_up(b"")
    await asyncio.wait_for(reaching, 1)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), max_size=20))
async def test_chunks_that_overlap_or_come_twice_or_are_missing_never_garble_the_log(
    pieces: list[tuple[int, int]],
) -> None:
    turn = remote()
    for first, more in pieces:
        turn.take(TurnProgress(state="running", journal=[chunk(first, first + more)]))
        assert turn.log.frames == frames(1, len(turn.log.frames))
        assert turn.log.safe == len(turn.log.frames)


async def test_a_feed_whose_reader_does_not_keep_up_begins_anew_with_the_turns_that_run() -> None:
    feed = WatchedFeed("ann", None, "1")
    for position in range(2, 20):
        many = [Change(thread_id="thr_1", position=str(position), event=b"{}")] * 500
        feed.take(Changes(position=str(position), changes=many))
        if feed.position is None:
            break
    assert feed.wanted().after is None
    assert await feed.read() == []
    assert feed.expired

    feed.take(Changes(position="99", changes=[Change(thread_id="thr_1", turn_id="trn_1", position="99")]))
    assert [change.turn_id for change in await feed.read()] == ["trn_1"]
    assert not feed.waits
