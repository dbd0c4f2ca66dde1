"""The events of an answer, whatever model and dialect it comes from."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_protocol.events import NoticeEvent, ThreadItemAddedEvent, ThreadItemDoneEvent
from bobbin_protocol.fold import ItemFold
from tests.unit.gateway.openai_agent.samples import Heard, turn

says = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.text(max_size=5)), min_size=1, max_size=30)


@cache
def reference_events() -> Any:
    """The reference's own idea of an event."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it warns of its own widgets
        from chatkit.types import ThreadStreamEvent  # noqa: PLC0415 (see above)
    from pydantic import TypeAdapter  # noqa: PLC0415 (only the reference needs it)

    return TypeAdapter(ThreadStreamEvent)


def answer_of(*pieces: tuple[int, int, str]) -> tuple[Heard, Answer]:
    answer, heard = Answer(turn()), Heard()
    for output_index, content_index, text in pieces:
        heard.events += answer.say(output_index, content_index, text)
    return heard, answer


def test_a_client_sees_the_same_order_of_events_as_from_the_reference() -> None:
    heard, answer = answer_of((0, 0, "Hel"), (0, 0, "lo"))
    answer.whole = True
    heard.events += answer.finish()
    assert heard.kinds == [
        "thread.item.added",
        "assistant_message.content_part.added",
        "assistant_message.content_part.text_delta",
        "assistant_message.content_part.text_delta",
        "assistant_message.content_part.done",
        "thread.item.done",
    ]


@given(says)
def test_deltas_add_up_to_the_item_that_is_stored(pieces: list[tuple[int, int, str]]) -> None:
    heard, answer = answer_of(*pieces)
    answer.whole = answer.acted = True
    heard.events += answer.finish()
    fold = ItemFold()
    for event in heard.events:
        if isinstance(event, ThreadItemDoneEvent):
            assert [item for item in fold.pending() if item.id == event.item.id] == [event.item]
        fold.apply(event)
    assert fold.pending() == []
    assert heard.deltas == "".join(text for _, _, text in pieces)


@settings(deadline=None)  # the first call imports the reference
@given(says)
def test_the_reference_accepts_every_event(pieces: list[tuple[int, int, str]]) -> None:
    heard, answer = answer_of(*pieces)
    answer.whole = answer.acted = True
    answer.cut_short = "length"
    reference = reference_events()
    for event in heard.events + answer.finish():
        reference.validate_json(msgspec.json.encode(event))


def test_each_message_has_an_id_of_its_own() -> None:
    heard, _ = answer_of((0, 0, "a"), (1, 0, "b"))
    added = [event.item.id for event in heard.events if isinstance(event, ThreadItemAddedEvent)]
    assert len(set(added)) == 2
    assert all(item_id.startswith("msg_") for item_id in added)


def test_a_model_that_says_nothing_makes_no_empty_message() -> None:
    heard, answer = answer_of((0, 0, ""))
    assert answer.settle(0, 0, "") == answer.close(0) == heard.events == []


def test_a_text_stated_as_a_whole_is_completed_by_what_was_not_said_yet() -> None:
    heard, answer = answer_of((0, 0, "Hel"))
    heard.events += answer.settle(0, 0, "Hello")
    assert heard.deltas == "Hello"
    assert heard.kinds[-1] == "assistant_message.content_part.done"


def test_what_was_said_is_not_unsaid_by_another_final_text() -> None:
    heard, answer = answer_of((0, 0, "Hello"))
    heard.events += answer.settle(0, 0, "Something else")
    assert heard.texts == [["Hello"]]


def test_parts_stand_in_order_of_appearance_without_gaps() -> None:
    heard, answer = answer_of((0, 7, "first"), (0, 2, "second"))
    heard.events += answer.close(0)
    assert heard.texts == [["first", "second"]]


def test_a_stream_that_stops_in_the_middle_is_a_failure_to_be_retried() -> None:
    _, answer = answer_of((0, 0, "Hel"))
    with pytest.raises(AgentError, match="broke off") as failure:
        answer.finish()
    assert failure.value.allow_retry


def test_an_answer_without_a_word_is_a_failure_to_be_retried() -> None:
    answer = Answer(turn())
    answer.whole = True
    with pytest.raises(AgentError, match="gave no answer") as failure:
        answer.finish()
    assert failure.value.allow_retry


def test_a_call_of_a_tool_alone_is_an_answer() -> None:
    answer = Answer(turn())
    answer.whole = answer.acted = True
    assert answer.finish() == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [("length", "length limit"), ("content_filter", "content filter"), ("other", "early")],
)
def test_a_shortened_answer_is_kept_and_the_user_is_told_why(reason: CutShort, words: str) -> None:
    heard, answer = answer_of((0, 0, "Hel"))
    answer.whole = True
    answer.cut_short = reason
    *rest, notice = answer.finish()
    assert isinstance(rest[-1], ThreadItemDoneEvent)
    assert isinstance(notice, NoticeEvent)
    assert notice.level == "warning"
    assert words in notice.message
    assert heard.deltas == "Hel"


@pytest.mark.parametrize(("reason", "allow_retry"), [("length", True), ("content_filter", False)])
def test_an_answer_shortened_to_nothing_says_why(reason: CutShort, allow_retry: bool) -> None:
    answer = Answer(turn())
    answer.whole = True
    answer.cut_short = reason
    with pytest.raises(AgentError, match=r"limit|filter") as failure:
        answer.finish()
    assert failure.value.allow_retry is allow_retry
