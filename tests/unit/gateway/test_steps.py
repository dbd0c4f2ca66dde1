"""Steps are one workflow at a time, and folding its events gives it as it stands."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.agent import Turn
from bobbin_gateway.steps import Steps
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import WorkflowItem
from bobbin_protocol.tasks import CustomSummary, CustomTask, DurationSummary, ThoughtTask
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import encode_json


def turn() -> Turn:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    return Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)


def folded(events: list[ThreadStreamEvent]) -> list[WorkflowItem]:
    fold = ItemFold()
    for event in events:
        fold.apply(event)
    return [item for item in fold.items() if isinstance(item, WorkflowItem)]


def test_thoughts_are_shown_before_anything_is_known_of_them() -> None:
    steps = Steps(turn())
    events = steps.think()
    [workflow] = folded(events)
    assert (workflow.workflow.type, workflow.workflow.tasks) == ("reasoning", [])
    assert steps.think() == []


def test_a_step_without_thoughts_opens_a_workflow_that_has_it_already() -> None:
    steps = Steps(turn())
    [event] = steps.put("a", CustomTask(title="A", status_indicator="loading"))
    assert event.__struct_config__.tag == "thread.item.added"
    [workflow] = folded([event])
    assert workflow.workflow.type == "custom"
    assert workflow.workflow.tasks == [CustomTask(title="A", status_indicator="loading")]


def test_the_summary_of_a_workflow_is_how_long_it_took_unless_someone_knows_better() -> None:
    steps = Steps(turn())
    [plain] = folded(steps.think() + steps.close())
    assert plain.workflow.summary == DurationSummary(duration=0)
    [named] = folded(steps.think() + steps.close(CustomSummary(title="Done"), expanded=True))
    assert named.workflow.summary == CustomSummary(title="Done")
    assert named.workflow.expanded
    assert named.id != plain.id
    assert steps.close() == []


def test_what_still_loads_when_a_workflow_ends_loads_no_more() -> None:
    steps = Steps(turn())
    events = steps.put("a", CustomTask(title="A", status_indicator="loading"))
    events += steps.put("b", CustomTask(title="B", status_indicator="complete"))
    [workflow] = folded(events + steps.close())
    assert [task.status_indicator for task in workflow.workflow.tasks] == ["none", "complete"]


def test_what_a_shown_event_says_does_not_change_any_more() -> None:
    steps = Steps(turn())
    first = steps.put("a", CustomTask(title="A"))
    before = encode_json(first)
    steps.put("a", CustomTask(title="B"))
    steps.put("b", CustomTask(title="C"))
    assert encode_json(first) == before


puts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"])), max_size=12)


@given(st.booleans(), puts, puts)
def test_steps_that_moved_to_another_process_go_on_as_if_they_had_not(
    thinks: bool, before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    one = turn()
    steps = Steps(one)
    events = steps.think() if thinks else []
    for key, text in before:
        events += steps.put(key, ThoughtTask(content=key + text))
    moved = Steps.restored(one, steps.state(), list(folded(events)))
    for key, text in after:
        assert encode_json(moved.put(key, ThoughtTask(content=key + text)))  # it may open one of its own
        events += steps.put(key, ThoughtTask(content=key + text))
    last = {key: ThoughtTask(content=key + text) for key, text in [*before, *after]}
    for key, task in last.items():
        assert steps.task(key) == task == moved.task(key)
    assert steps.is_open == moved.is_open
    for workflow in folded(events):
        assert workflow.workflow.tasks == list(last.values())


def test_steps_are_not_restored_from_items_of_another_turn() -> None:
    steps = Steps(turn())
    steps.think()
    with pytest.raises(LookupError):
        Steps.restored(turn(), steps.state(), [])
