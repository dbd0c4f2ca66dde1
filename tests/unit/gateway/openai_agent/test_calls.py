"""Calls of a round, under ids that are unique in the turn."""

from __future__ import annotations

from bobbin_gateway.openai_agent.calls import Calls
from bobbin_gateway.tools.tool import ToolCall
from tests.unit.gateway.openai_agent.samples import turn


def test_calls_stand_in_the_order_in_which_they_began() -> None:
    calls = Calls(turn())
    for place, piece in [(3, '{"a"'), (1, "{}"), (3, ":1}")]:
        calls.at(place, f"call_{place}").arguments.append(piece)
    assert calls.made() == [
        ToolCall(call_id="call_3", name="", arguments='{"a":1}'),
        ToolCall(call_id="call_1", name="", arguments="{}"),
    ]
    assert calls.written(3) == '{"a":1}'
    assert calls.written(9) == ""


def test_no_arguments_are_an_empty_object() -> None:
    calls = Calls(turn())
    calls.at(0, "a")
    assert calls.made() == [ToolCall(call_id="a", name="", arguments="{}")]


def test_ids_that_are_missing_or_were_used_in_the_turn_are_made_here() -> None:
    calls = Calls(turn())
    calls.at(0, "a")
    calls.at(1, "a")
    calls.at(2)
    calls.next_round()
    assert calls.made() == []
    calls.at(0, "a")
    ids = calls.used
    assert len(ids) == len(set(ids)) == 4
    assert ids[0] == "a"
    assert all(call_id.startswith("tc_") for call_id in ids[1:])


def test_calls_go_on_elsewhere() -> None:
    calls = Calls(turn())
    calls.at(0, "a").arguments.append("{")
    moved = Calls(turn())
    moved.restore(calls.state(), calls.used)
    moved.at(0).arguments.append("}")
    assert moved.made() == [ToolCall(call_id="a", name="", arguments="{}")]
    assert moved.at(1, "a").call_id != "a"
