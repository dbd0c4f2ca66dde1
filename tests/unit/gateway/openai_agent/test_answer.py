"""The events of an answer, whatever model and dialect it comes from."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.tools.tool import ToolCall
from bobbin_protocol.events import NoticeEvent, ThreadItemAddedEvent, ThreadItemDoneEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import Annotation, AssistantMessageItem, WorkflowItem
from bobbin_protocol.sources import URLSource
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.tasks import CustomTask, ThoughtTask
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


def test_it_flows_from_its_first_words_to_its_end() -> None:
    _, answer = answer_of()
    assert not answer.is_flowing()
    answer.say(0, 0, "Hel")
    assert answer.is_flowing()
    answer.over = True
    assert not answer.is_flowing()


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


def test_steps_fold_up_before_the_model_speaks() -> None:
    answer, heard = Answer(turn(), lambda name: name), Heard()
    heard.events += answer.work.think(0, "a", "Hmm") + answer.say(1, 0, "Hello")
    answer.whole = True
    heard.events += answer.finish()
    assert types(heard) == ["workflow", "assistant_message"]
    assert heard.kinds.index("thread.item.done") < heard.kinds.index("assistant_message.content_part.added")


def test_steps_of_our_tools_stay_open_while_the_model_speaks() -> None:
    answer, heard = Answer(turn(), lambda name: name), Heard()
    heard.events += answer.work.call(0, call_id="c", name="add") + answer.say(1, 0, "Hello")
    answer.whole = True
    heard.events += answer.finish()
    assert answer.steps.is_open
    assert heard.texts == [["Hello"]]
    answer.next_round()
    heard.events += answer.steps.put("c", CustomTask(title="add", status_indicator="complete"))
    heard.events += answer.say(0, 0, "Bye")
    answer.whole = True
    heard.events += answer.finish()
    assert not answer.steps.is_open
    assert heard.texts == [["Hello"], ["Bye"]]
    assert answer.calls == []


def test_an_answer_lasts_over_rounds() -> None:
    answer, heard = Answer(turn(), lambda name: name), Heard()
    heard.events += answer.work.call(0, call_id="c", name="add", arguments="{}")
    answer.count(3, 1)
    answer.count(3, 2)
    answer.whole = answer.over = True
    heard.events += answer.finish()
    assert answer.calls == [ToolCall(call_id="c", name="add", arguments="{}")]
    answer.next_round()
    assert (answer.whole, answer.over, answer.calls) == (False, False, [])
    answer.count(10, 5)
    assert answer.usage == Usage(input_tokens=13, output_tokens=7)
    answer.count(-10, 5)
    assert answer.usage == Usage(input_tokens=3, output_tokens=7), "no provider gives tokens back"
    with pytest.raises(AgentError, match="broke off"):
        answer.finish()


def test_a_model_that_says_nothing_after_its_calls_has_answered() -> None:
    """Its tools may have shown all there is to show."""
    answer = Answer(turn(), lambda name: name)
    answer.work.call(0, call_id="c", name="add")
    answer.whole = True
    answer.finish()
    answer.next_round()
    answer.whole = True
    assert [event.__struct_config__.tag for event in answer.finish()] == ["thread.item.done"]


def test_calls_that_were_cut_short_go_on_without_a_notice() -> None:
    """The model is told of arguments that are not whole, and may try again."""
    answer = Answer(turn(), lambda name: name)
    answer.work.call(0, call_id="c", name="add", arguments='{"a')
    answer.whole, answer.cut_short = True, "length"
    assert answer.finish() == []


def cited(index: int | None) -> Annotation:
    return Annotation(source=URLSource(url="https://a.example/", title="A"), index=index)


def test_an_annotation_that_comes_before_the_text_waits_for_it() -> None:
    answer, heard = Answer(turn()), Heard()
    assert answer.annotate(0, 0, cited(None)) == answer.annotate(0, 0, cited(5)) == []
    assert answer.annotate(0, 0, cited(5)) == answer.annotate(0, 0, None) == []
    heard.events += answer.say(0, 0, "Hel")
    assert heard.kinds[-1] == "assistant_message.content_part.annotation_added"
    heard.events += answer.settle(0, 0, "Hello")
    heard.events += answer.close(0)
    assert cited_in(heard) == [cited(None), cited(5)]


def test_an_annotation_beyond_the_text_stands_at_its_end() -> None:
    answer, heard = Answer(turn()), Heard()
    heard.events += answer.say(0, 0, "Hello") + answer.annotate(0, 0, cited(99)) + answer.close(0)
    assert cited_in(heard) == [cited(5)]


def cited_in(heard: Heard) -> list[Annotation]:
    [item] = heard.items
    assert isinstance(item, AssistantMessageItem)
    return item.content[0].annotations


def test_an_image_is_an_answer_and_one_that_fails_is_told_to_the_user() -> None:
    answer, heard = Answer(turn()), Heard()
    heard.events += answer.begin_image(0) + answer.end_image(0, "https://a.example/1")
    heard.events += answer.begin_image(1) + answer.end_image(1, None)
    assert answer.has_images
    assert types(heard) == ["generated_image"]
    assert heard.kinds[-2:] == ["thread.item.removed", "notice"]


def test_steps_fold_up_before_an_image_appears() -> None:
    answer, heard = Answer(turn()), Heard()
    heard.events += answer.work.think(0) + answer.show_image(1, "https://a.example/1", 0)
    assert answer.show_image(1, None, 1) == answer.add_image(None) == []
    assert heard.kinds == [
        "thread.item.added",
        "thread.item.done",
        "thread.item.added",
        "generated_image.updated",
    ]


def test_what_was_held_back_is_shown_when_the_answer_fails() -> None:
    answer, heard = Answer(turn(), lambda name: name), Heard()
    heard.events += answer.work.think(0, "a", "x" * 100) + answer.work.think(0, "a", "y")
    heard.events += answer.work.call(1, call_id="c", name="add") + answer.begin_image(2)
    heard.events += answer.break_off()
    [item] = heard.items
    assert isinstance(item, WorkflowItem)
    assert item.workflow.tasks == [
        ThoughtTask(content="x" * 100 + "y"),
        CustomTask(title="add", status_indicator="none"),
    ]
    assert answer.break_off() == []


def types(heard: Heard) -> list[str]:
    return [str(item.__struct_config__.tag) for item in heard.items]
