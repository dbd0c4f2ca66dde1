"""The Responses stream is shaped like the recorded ones."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from bobbin_gateway.demo_model import responses
from bobbin_gateway.demo_model.answer import Answer, Call

EVENTS = TypeAdapter[Any](ResponseStreamEvent)


def _answer(*pieces: str, **options: Any) -> Answer:
    return Answer(model="m", pieces=list(pieces), input_tokens=7, **options)


def _events(stream: bytes) -> list[dict[str, Any]]:
    """The payloads, each under an `event:` line that repeats its type."""
    events = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def _stream(answer: Answer) -> list[dict[str, Any]]:
    frames = responses.frames(answer)
    return _events(frames.head + b"".join(frames.deltas) + frames.tail)


def _shape(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The kinds of events in a row, each with the names of its fields, however deep."""
    shapes = [(event["type"], _fields(event)) for event in events]
    return [shape for shape, _ in groupby(shapes)]


def _fields(value: Any) -> Any:
    """Names only; `text` has two meanings, and `cache_write_tokens` is newer than the recordings."""
    if isinstance(value, dict):
        names = sorted(value.keys() - {"text", "cache_write_tokens"})
        return {name: _fields(value[name]) for name in names}
    return [_fields(inner) for inner in value] if isinstance(value, list) else None


def test_a_stream_has_the_events_and_fields_of_a_recorded_one(recordings: Path) -> None:
    """Kinds, order and the names of all fields are those of a real stream that ended for want of tokens."""
    real = (recordings / "responses-openai-incomplete-max-tokens.sse").read_bytes()
    ours = _stream(_answer("In", " the", incomplete="max_output_tokens"))
    assert _shape(ours) == _shape(_events(real))


def test_an_error_has_the_events_and_fields_of_a_recorded_one(recordings: Path) -> None:
    """An error before any output looks like the recorded one: an `error` event, then `response.failed`."""
    real = _events((recordings / "responses-openai-error-then-failed.sse").read_bytes())
    ours = _stream(_answer("never said", fails_after=0, error_code="insufficient_quota"))
    assert [event["type"] for event in ours] == [event["type"] for event in real]
    assert _fields(ours[2]) == _fields(real[2])
    assert ours[3]["response"]["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"parts": 3},
        {"refusal": True},
        {"incomplete": "content_filter"},
        {"fails_after": 2, "error_shape": "flat"},
        {"parts": 2, "fails_after": 3, "error_shape": "flat"},
    ],
    ids=str,
)
def test_every_event_is_one_of_the_official_types(options: dict[str, Any]) -> None:
    """The openai package's own types accept all of it, and the numbers have no gap."""
    events = _stream(_answer("a", "b", "é", "d", **options))
    for event in events:
        EVENTS.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("refusal", [False, True])
def test_deltas_parts_item_and_response_agree(refusal: bool) -> None:
    """What was streamed is what the closing events repeat, part by part."""
    events = _stream(_answer("a", "b", "c", "d", "e", parts=2, refusal=refusal))
    field = "refusal" if refusal else "text"
    said = ["", ""]
    for event in events:
        if event["type"].endswith(".delta"):
            said[event["content_index"]] += event["delta"]
    assert said == ["ab", "cde"]
    parts = [event["part"][field] for event in events if event["type"] == "response.content_part.done"]
    item = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    assert said == parts == [part[field] for part in item["content"]]
    response = events[-1]["response"]
    assert response["output"] == [item]
    assert response["usage"]["total_tokens"] == 7 + 5


def test_an_empty_answer_is_a_whole_stream() -> None:
    """No delta, and yet a message with an empty text."""
    kinds = [event["type"] for event in _stream(_answer())]
    assert "response.output_text.delta" not in kinds
    assert kinds[-1] == "response.completed"


def test_a_whole_answer_is_an_official_response() -> None:
    """Without a stream the answer is one Response object."""
    response = Response.model_validate_json(responses.whole(_answer("a", "b")))
    assert response.output_text == "ab"
    assert response.status == "completed"


CALLS = [Call("call_1", "add", ['{"a"', ":1}"]), Call("call_2", "now", ["{}"])]


@pytest.mark.parametrize("text", [[], ["Let ", "me"]])
def test_calls_stand_behind_the_text_and_every_event_is_one_of_the_official_types(text: list[str]) -> None:
    events = _stream(_answer(*text, calls=CALLS))
    for event in events:
        EVENTS.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message"] * bool(text) + ["function_call"] * 2
    assert [item.get("arguments") for item in output][-2:] == ['{"a":1}', "{}"]
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert deltas == ['{"a"', ":1}", "{}"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == output
