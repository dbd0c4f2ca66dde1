"""Every recorded stream gives the full ChatKit form of what it contains, however the network cuts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_protocol.events import NoticeEvent
from bobbin_protocol.items import (
    WorkflowItem,
)
from tests.recordings import ALL, Recording
from tests.unit.gateway.openai_agent.recordings_full import FULL, plain_item
from tests.unit.gateway.openai_agent.samples import Heard, cut, hear

usefixtures = pytest.mark.usefixtures("recordings")


def title_of(name: str) -> str:
    return f"Tool {name}"


def check(recording: Recording, heard: Heard, answer: Answer) -> None:
    full = FULL[recording.name]
    assert [plain_item(item) for item in heard.items] == full.items
    assert [(call.name, json.loads(call.arguments)) for call in answer.calls] == full.calls
    assert [call.call_id for call in answer.calls] == full.call_ids
    notices = [event.message for event in heard.events if isinstance(event, NoticeEvent)]
    assert len(notices) == len(full.notices)
    assert all(words in notice for words, notice in zip(full.notices, notices, strict=True))
    assert (full.failure or "") in (heard.failure.message if heard.failure else "")
    assert (heard.failure is None) == (full.failure is None)
    assert answer.has_images == any(kind == "image" for kind, *_ in full.items)


def test_the_table_has_every_recording() -> None:
    assert sorted(FULL) == sorted(recording.name for recording in ALL)


@usefixtures
@pytest.mark.parametrize("recording", ALL, ids=str)
@pytest.mark.parametrize("size", [997, 10_000_000])
def test_every_recording_gives_all_that_it_contains(recording: Recording, size: int) -> None:
    check(recording, *hear(recording.dialect, cut(recording.data, [size]), title_of))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(data=st.data())
def test_it_does_not_matter_how_the_network_cuts_a_stream(recordings: Path, data: st.DataObject) -> None:
    assert recordings
    recording = data.draw(st.sampled_from([one for one in ALL if len(one.data) < 30_000]))
    sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=20))
    check(recording, *hear(recording.dialect, cut(recording.data, sizes), title_of))


@usefixtures
@pytest.mark.parametrize("recording", ALL, ids=str)
def test_workflows_are_closed_with_their_time_unless_tools_are_to_run(recording: Recording) -> None:
    """All but the last; and that one too, unless the model waits for results."""
    heard, answer = hear(recording.dialect, [recording.data], title_of)
    workflows = [item for item in heard.items if isinstance(item, WorkflowItem)]
    running = 1 if answer.calls else 0
    assert [flow.workflow.summary is None for flow in workflows] == [False] * (len(workflows) - running) + [
        True
    ] * running
    assert answer.steps.is_open == bool(answer.calls)
