"""What of a turn goes to the journal, and when."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.tail import MOST_BYTES, Tail
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.threads import ThreadMetadata


class Ledger:
    """A writer that only keeps count."""

    def __init__(self) -> None:
        self.unsafe = 0

    def grew(self, tail: Tail, size: int) -> None:
        del tail
        self.unsafe += size

    def hurry(self) -> None:
        """Nothing hurries here."""


def tail_of(ledger: Ledger) -> tuple[Turn, Tail]:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    turn = Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)
    return turn, Tail(turn, "gw_1", ledger)


def written(chunks: list[JournalChunk]) -> bytes:
    """The journal's bytes, if its chunks join up."""
    number = 0
    for chunk in chunks:
        assert chunk.first == number + 1
        number = chunk.last
    return b"".join(chunk.data for chunk in chunks)


def test_a_turn_that_ends_before_the_first_write_leaves_no_journal() -> None:
    ledger = Ledger()
    _, tail = tail_of(ledger)
    tail.append(b"a")
    assert tail.close() == []
    tail.end()
    assert ledger.unsafe == 0


def test_a_turn_whose_reader_may_come_back_leaves_its_journal_all_the_same() -> None:
    _, tail = tail_of(Ledger())
    tail.wanted = True
    tail.append(b"a")
    tail.append(b"b")
    assert tail.close() == [JournalChunk(first=1, last=2, data=b"ab")]


def test_what_may_not_have_arrived_is_sent_again_as_it_was() -> None:
    _, tail = tail_of(Ledger())
    tail.append(b"a")
    first = tail.entry()
    tail.append(b"b")
    assert tail.entry() == first
    assert tail.confirm()
    second = tail.entry()
    assert second is not None
    assert second.chunk == JournalChunk(first=2, last=2, data=b"b")
    assert not tail.confirm()
    assert tail.entry() is None


def test_events_beyond_the_last_checkpoint_wait_for_the_next() -> None:
    turn, tail = tail_of(Ledger())
    tail.append(b"a")
    turn.checkpoint = b"one"
    tail.mark()
    tail.append(b"b")
    entry = tail.entry()
    assert entry is not None
    assert (entry.chunk.data, entry.checkpoint) == (b"a", b"one")
    assert not tail.confirm()
    turn.checkpoint = b"two"
    entry = tail.entry()
    assert entry is not None
    assert (entry.chunk.data, entry.checkpoint) == (b"b", b"two")


def test_a_checkpoint_goes_with_the_events_before_it_only() -> None:
    """If the first write did not arrive, and the gateway dies after the second, nothing may be missing."""
    turn, tail = tail_of(Ledger())
    tail.append(b"a")
    turn.checkpoint = b"one"
    lost = tail.entry()
    tail.append(b"b")
    turn.checkpoint = b"two"
    assert tail.entry() == lost
    assert lost is not None
    assert (lost.chunk.data, lost.checkpoint) == (b"a", b"one")


def test_an_agent_that_thinks_without_a_word_can_be_continued_too() -> None:
    turn, tail = tail_of(Ledger())
    tail.append(b"a")
    assert not tail.has_silent_checkpoint
    tail.entry()
    tail.confirm()
    turn.checkpoint = b"thinking"
    assert tail.has_silent_checkpoint
    entry = tail.entry()
    assert entry is not None
    assert (entry.chunk, entry.checkpoint) == (JournalChunk(first=2, last=1, data=b""), b"thinking")
    tail.append(b"b")
    assert tail.close() == [JournalChunk(first=2, last=2, data=b"b")]
    tail.confirm()
    assert tail.log.safe == 1


@given(st.lists(st.integers(1, 2 * MOST_BYTES // 3), max_size=12), st.integers(0, 12))
def test_what_has_grown_large_is_sent_in_pieces_and_the_checkpoint_with_the_last(
    sizes: list[int], before: int
) -> None:
    turn, tail = tail_of(Ledger())
    for number, size in enumerate(sizes):
        if number == before:
            turn.checkpoint = b"one"
            tail.mark()
        tail.append(b"x" * size)
    chunks: list[JournalChunk] = []
    checkpoints: list[bytes | None] = []
    while entry := tail.entry():
        chunks.append(entry.chunk)
        checkpoints.append(entry.checkpoint)
        tail.confirm()
    end = min(len(sizes), before)
    assert written(chunks) == b"".join(tail.log.frames[:end])
    assert all(len(chunk.data) <= MOST_BYTES for chunk in chunks)
    assert checkpoints[:-1] == [None] * (len(checkpoints) - 1)
    if before < len(sizes):
        assert checkpoints[-1] == b"one"


@given(st.lists(st.sampled_from(["append", "send", "confirm"]), max_size=40))
def test_however_writes_fall_the_journal_holds_every_event_once(steps: list[str]) -> None:
    ledger = Ledger()
    _, tail = tail_of(ledger)
    chunks: dict[int, JournalChunk] = {}
    for step in steps:
        match step:
            case "append":
                tail.append(b"%d " % len(tail.log.frames))
            case "send":
                if entry := tail.entry():
                    assert chunks.setdefault(entry.chunk.first, entry.chunk) == entry.chunk
            case _:
                tail.confirm()
                assert ledger.unsafe == sum(map(len, tail.log.frames[tail.log.safe :]))
    for chunk in tail.close():
        assert chunks.setdefault(chunk.first, chunk) == chunk
    if chunks:
        assert written(list(chunks.values())) == b"".join(tail.log.frames)
    tail.end()
    assert ledger.unsafe == 0
