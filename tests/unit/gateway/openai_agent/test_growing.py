"""Texts that grow in their steps: all of them is shown in the end, at linear cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.openai_agent.growing import GrowingSteps
from bobbin_gateway.steps import Steps
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import WorkflowItem
from bobbin_protocol.tasks import Task, ThoughtTask
from bobbin_protocol.wire import encode_json
from tests.unit.gateway.openai_agent.samples import Heard, turn


def task_of(text: str) -> ThoughtTask:
    return ThoughtTask(content=text)


def text_of(task: Task) -> str:
    assert isinstance(task, ThoughtTask)
    return task.content


def growing() -> tuple[Steps, GrowingSteps]:
    steps = Steps(turn())
    return steps, GrowingSteps(steps, task_of, text_of, begin=steps.think)


def shown(events: list[ThreadStreamEvent]) -> list[list[str]]:
    """The texts in each workflow."""
    heard = Heard()
    heard.events = events
    flows = [item.workflow for item in heard.items if isinstance(item, WorkflowItem)]
    return [[text_of(task) for task in flow.tasks] for flow in flows]


@pytest.mark.parametrize("piece", ["a", "word ", "x" * 500])
@pytest.mark.parametrize("length", [1_000, 100_000])
def test_a_thought_costs_bytes_in_proportion_to_its_length(piece: str, length: int) -> None:
    _, texts = growing()
    events: list[ThreadStreamEvent] = []
    for _ in range(length // len(piece)):
        events += texts.add("a", piece)
    events += texts.show_all()
    contents = sum(map(len, contents_of(events)))
    assert shown(events) == [[piece * (length // len(piece))]]
    assert contents <= 10 * length
    frames = sum(len(encode_json(event)) for event in events) - contents
    assert frames <= 250 * (80 + 20)


def contents_of(events: list[ThreadStreamEvent]) -> list[str]:
    contents: list[str] = []
    for event in events:
        task = getattr(getattr(event, "update", None), "task", None)
        if isinstance(task, ThoughtTask):
            contents.append(task.content)
    return contents


pieces = st.lists(st.tuples(st.sampled_from("ab"), st.text("xy", max_size=6)), max_size=30)


@given(pieces)
def test_all_that_was_heard_is_shown_in_the_end(said: list[tuple[str, str]]) -> None:
    _, texts = growing()
    events = [event for key, piece in said for event in texts.add(key, piece)] + texts.show_all()
    whole = {key: "".join(piece for one, piece in said if one == key) for key, _ in said}
    assert sorted(text for flow in shown(events) for text in flow) == sorted(filter(None, whole.values()))


@given(pieces, pieces)
def test_texts_that_moved_to_another_process_go_on_as_if_they_had_not(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    steps, texts = growing()
    events = [event for key, piece in before for event in texts.add(key, piece)]
    heard = Heard()
    heard.events = events
    moved_steps = Steps.restored(turn(), steps.state(), heard.items)
    moved = GrowingSteps(moved_steps, task_of, text_of, begin=moved_steps.think)
    moved.restore(texts.state())
    rest = [event for key, piece in after for event in texts.add(key, piece)] + texts.show_all()
    moved_rest = [event for key, piece in after for event in moved.add(key, piece)] + moved.show_all()
    assert shown(events + rest) == shown(events + moved_rest)


def test_a_text_stated_as_a_whole_is_completed_and_never_taken_back() -> None:
    _, texts = growing()
    events = texts.add("a", "Hel") + texts.settle("a", "Hello") + texts.settle("a", "Hello")
    assert shown(events) == [["Hello"]]
    assert shown(events + texts.settle("a", "Something else, and longer")) == [["Hello"]]


def test_what_comes_after_the_workflow_was_closed_stands_in_another() -> None:
    steps, texts = growing()
    events = texts.add("a", "Hello") + steps.close()
    texts.move_on()
    events += texts.settle("a", "Hello")
    assert shown(events) == [["Hello"]]
    events += texts.add("a", " you") + texts.settle("a", "Hello you there")
    assert shown(events) == [["Hello"], [" you there"]]


def test_what_is_forgotten_begins_anew() -> None:
    _, texts = growing()
    texts.add("1.a", "x")
    texts.add("2.a", "y")
    texts.forget("1.")
    assert [text.key for text in texts.state()] == ["2.a"]
    texts.forget()
    assert texts.state() == []
