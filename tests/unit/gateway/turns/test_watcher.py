"""What happens elsewhere, pieced together from what the store tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.watcher import RemoteTurn, WatchedFeed
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.watch import Change, Changes, TurnProgress


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
