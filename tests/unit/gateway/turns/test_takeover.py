"""A turn of a dead gateway is brought back with all that its agent had made of it, and of its thread."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.turns.running import RunningTurn
from bobbin_gateway.turns.tail import Tail
from bobbin_gateway.turns.takeover import restore
from bobbin_protocol.events import ThreadUpdatedEvent
from bobbin_protocol.sse import encode_event
from bobbin_protocol.store.gateways import ClaimedTurn
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.threads import (
    ActiveStatus,
    LockedStatus,
    ThreadMetadata,
    ThreadStatus,
    thread_for_client,
)
from bobbin_protocol.wire import encode_json
from tests.unit.gateway.openai_agent.samples import NOW, turn


class NoWriter:
    def grew(self, tail: Tail, size: int) -> None: ...

    def hurry(self) -> None: ...


def brought_back(thread: ThreadMetadata, *told: ThreadMetadata, broken: bytes = b"") -> RunningTurn:
    frames = [
        encode_event(encode_json(ThreadUpdatedEvent(thread=thread_for_client(one)))) for one in told
    ] + ([broken] if broken else [])
    one = turn()
    one.thread = thread
    running = RunningTurn(one, Tail(one, "gw_1", NoWriter()), 10**6, lambda _: None)
    chunk = JournalChunk(first=1, last=len(frames), data=b"".join(frames))
    claimed = ClaimedTurn(
        owner_id="o",
        turn_id=one.id,
        state="running",
        thread=thread,
        message=None,
        cancel_requested=False,
        checkpoint=None,
        journal=[chunk],
    )
    restore(running, claimed)
    return running


def thread(status: ThreadStatus | None = None, **fields: Any) -> ThreadMetadata:
    return ThreadMetadata(id="thr_1", created_at=NOW, status=status or ActiveStatus(), **fields)


@pytest.mark.parametrize(
    ("told", "stored", "is_now"),
    [
        ([LockedStatus(reason="working")], ActiveStatus(), LockedStatus(reason="working")),
        ([LockedStatus(reason="working"), ActiveStatus()], ActiveStatus(), ActiveStatus()),
        (
            [ActiveStatus()],
            LockedStatus(reason="service"),
            LockedStatus(reason="service"),
        ),
        ([LockedStatus(reason="a"), ActiveStatus()], LockedStatus(reason="b"), ActiveStatus()),
    ],
)
async def test_the_thread_is_as_the_agent_left_it_or_else_as_it_is(
    told: list[ThreadStatus], stored: ThreadStatus, is_now: ThreadStatus
) -> None:
    running = brought_back(thread(stored), *map(thread, told))
    assert running.turn.thread.status == is_now


async def test_a_name_that_was_suggested_is_suggested_again_unless_there_is_one() -> None:
    assert brought_back(thread(), thread(title="Ours")).suggested_title == "Ours"
    named = brought_back(thread(title="Theirs"), thread(title="Ours"))
    assert (named.suggested_title, named.turn.thread.title) == (None, "Theirs")


async def test_what_only_another_version_understands_is_passed_on_unread() -> None:
    running = brought_back(thread(), thread(title="A"), broken=b'data: {"type":"from.the.future"}\n\n')
    assert (len(running.log.frames), running.log.safe) == (2, 2)
