"""A turn in its final form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bobbin_gateway.turns.result import FinalSource
from bobbin_protocol.sse import SSEParser
from bobbin_protocol.store.turns import TurnRecord, TurnResult, TurnState
from bobbin_protocol.threads import ThreadMetadata

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = {"type": "assistant_message", "id": "msg_1", "thread_id": "thr_1", "content": []}


def result(state: TurnState = "completed", *, created: bool = False) -> TurnResult:
    return TurnResult(
        turn=TurnRecord(id="trn_1", thread_id="thr_1", state=state, started_at=NOW, event_count=9),
        thread=ThreadMetadata(id="thr_1", created_at=NOW, title="Title", metadata={"secret": 1}),
        created_thread=created,
        items=[ITEM],
    )


def told(source: FinalSource, *, numbered: bool = True) -> list[tuple[str, dict[str, Any]]]:
    events = SSEParser().feed(source.render(0, source.log.frames, numbered=numbered))
    return [(event.id, msgspec.json.decode(event.data)) for event in events]


def test_only_the_last_event_has_a_number_so_that_a_lost_reader_gets_all_of_it_again() -> None:
    events = told(FinalSource(result(created=True)))
    assert [event["type"] for _, event in events] == [
        "thread.created",
        "thread.item.done",
        "thread.updated",
    ]
    assert [number for number, _ in events] == ["", "", "trn_1:9"]
    assert events[1][1]["item"] == ITEM
    assert events[2][1]["thread"]["metadata"] == {}


def test_a_client_that_asked_for_no_numbers_gets_none() -> None:
    assert {number for number, _ in told(FinalSource(result()), numbered=False)} == {""}


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_turn_that_ended_badly_may_be_tried_again(state: TurnState) -> None:
    *_, (_, last) = told(FinalSource(result(state)))
    assert (last["type"], last["allow_retry"]) == ("error", True)


def test_a_reader_that_has_everything_gets_nothing_and_one_from_the_future_is_found_out() -> None:
    source = FinalSource(result())
    assert source.position(9) == len(source.log.frames)
    assert source.position(3) == source.position(0) == 0
    assert source.position(10) is None
