"""The SDK's events as ours, beside what the reader does that the built-in agent has, too."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, RawResponsesStreamEvent, RunItemStreamEvent
from agents.items import ToolCallOutputItem
from openai._models import construct_type
from openai.types.responses import ResponseStreamEvent

from bobbin_gateway.agents_sdk.output import RunOutput
from bobbin_protocol.events import NoticeEvent, ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import EndOfTurnItem, HiddenContextItem
from tests.unit.gateway.openai_agent.samples import IDS, Heard, turn


def raw(**fields: Any) -> RawResponsesStreamEvent:
    """An event as the openai package makes it: of any JSON, unchecked."""
    data: Any = construct_type(type_=ResponseStreamEvent, value={"sequence_number": 0, **fields})
    return RawResponsesStreamEvent(data=data)


def call(place: int, call_id: str, name: str = "look") -> list[RawResponsesStreamEvent]:
    item = {"type": "function_call", "id": "fc", "call_id": call_id, "name": name, "arguments": "{}"}
    return [
        raw(type="response.output_item.added", output_index=place, item={**item, "arguments": ""}),
        raw(type="response.output_item.done", output_index=place, item=item),
    ]


def end(status: str = "completed", **fields: Any) -> RawResponsesStreamEvent:
    response = {"id": "resp", "status": status, "output": [], **fields}
    return raw(type=f"response.{status}", response=response)


def result(call_id: str, output: str) -> RunItemStreamEvent:
    raw_item: Any = {"type": "function_call_output", "call_id": call_id, "output": output}
    item = ToolCallOutputItem(agent=Agent(name="a"), raw_item=raw_item, output=output)
    return RunItemStreamEvent(name="tool_output", item=item)


def heard(output: RunOutput, *events: Any) -> Heard:
    heard = Heard()
    heard.events = [ours for event in events for ours in output.read(event)]
    return heard


def memories(events: list[ThreadStreamEvent]) -> list[Any]:
    return [
        event.item.content
        for event in events
        if isinstance(event, ThreadItemDoneEvent) and isinstance(event.item, HiddenContextItem)
    ]


def test_calls_of_two_rounds_with_one_id_are_two_calls() -> None:
    output = RunOutput(turn())
    first = heard(output, *call(0, "same"), end(), result("same", "one")).events
    second = heard(output, *call(0, "same"), end(), result("same", "two")).events
    told = memories(first + second + output.finish())
    assert [memory["results"][0]["output"] for memory in told] == ["one", "two"]
    assert told[0]["calls"][0]["call_id"] != told[1]["calls"][0]["call_id"]


def test_only_calls_with_a_result_are_remembered() -> None:
    output = RunOutput(turn())
    heard(output, *call(0, "a"), *call(1, "b"), end(), result("b", "done"))
    [memory] = memories(output.finish())
    assert [call["call_id"] for call in memory["calls"]] == ["b"]


def test_a_huge_result_is_remembered_in_part() -> None:
    output = RunOutput(turn())
    heard(output, *call(0, "a"), end(), result("a", "x" * 1_000_000))
    [memory] = memories(output.finish())
    kept = memory["results"][0]["output"]
    assert kept.startswith("x" * 20_000)
    assert kept.endswith("[cut off here: 1000000 characters]")


def test_a_result_of_an_unknown_call_changes_nothing() -> None:
    output = RunOutput(turn())
    assert heard(output, result("unknown", "x")).events == []
    assert output.finish() == []


def test_an_item_that_takes_no_place_does_not_end_the_workflow() -> None:
    output = RunOutput(turn())
    thinking = {"type": "reasoning", "id": "r"}
    heard(output, raw(type="response.output_item.added", output_index=0, item=thinking))
    end_of_turn = ThreadItemDoneEvent(item=EndOfTurnItem(id="msg_e", **IDS))
    assert output.show(end_of_turn) == [end_of_turn]
    assert output.answer.steps.is_open


def test_a_response_that_is_cut_short_ends_with_a_notice() -> None:
    output = RunOutput(turn())
    delta = raw(type="response.output_text.delta", output_index=0, content_index=0, item_id="m", delta="Hel")
    cut = end("incomplete", incomplete_details={"reason": "max_output_tokens"}, usage={"input_tokens": 3})
    told = heard(output, delta, cut)
    assert told.texts == [["Hel"]]
    assert isinstance(told.events[-1], NoticeEvent)
    assert output.answer.cut_short == "length"
    assert output.answer.usage is not None
    assert output.answer.usage.input_tokens == 3


@pytest.mark.parametrize("streamed", [True, False])
def test_a_refusal_is_said_once_however_much_of_it_was_streamed(streamed: bool) -> None:
    output = RunOutput(turn())
    place = {"item_id": "m", "output_index": 2, "content_index": 1}
    told = Heard()
    if streamed:
        told = heard(output, raw(type="response.refusal.delta", delta="I can't", **place))
    told.events += output.refuse("I can't help")
    assert told.texts == [["I can't help"]]
