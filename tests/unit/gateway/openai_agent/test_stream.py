"""The way from raw bytes to events: every recorded stream, cut in any way, and bodies that are no streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bobbin_protocol.events import NoticeEvent
from bobbin_protocol.store.turns import Usage
from tests.recordings import ALL, Recording
from tests.unit.gateway.openai_agent.samples import chunk, completed, cut, delta, hear, sse

BIGGEST_CUT_UP = 30_000
"""Bytes of recordings that are tried with small cuts: larger ones show no other shapes, and take long."""
usefixtures = pytest.mark.usefixtures("recordings")


def check(recording: Recording, chunks: list[bytes]) -> None:
    heard, answer = hear(recording.dialect, chunks)
    expected = recording.expected
    assert expected.is_text(heard.deltas), heard.deltas
    assert "".join(text for texts in heard.texts for text in texts) == heard.deltas
    assert (heard.failure is not None) == (expected.end == "error")
    notices = [event for event in heard.events if isinstance(event, NoticeEvent)]
    asked = recording.name == "responses-openai-mcp-approval-request"
    assert len(notices) == (expected.end == "incomplete" or asked)
    if expected.input_tokens is not None:
        assert answer.usage == Usage(
            input_tokens=expected.input_tokens, output_tokens=expected.output_tokens or 0
        )


@usefixtures
@pytest.mark.parametrize("recording", ALL, ids=str)
def test_every_recorded_stream_gives_the_text_that_the_provider_sent(recording: Recording) -> None:
    check(recording, [recording.data])


@usefixtures
@pytest.mark.parametrize("recording", ALL, ids=str)
def test_the_network_may_cut_a_stream_anywhere(recording: Recording) -> None:
    for size in (1, 7, 1460) if len(recording.data) < BIGGEST_CUT_UP else (61, 1460):
        check(recording, cut(recording.data, [size]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(data=st.data())
def test_the_network_may_cut_a_stream_in_pieces_of_any_size(recordings: Path, data: st.DataObject) -> None:
    assert recordings
    small = [recording for recording in ALL if len(recording.data) < BIGGEST_CUT_UP]
    recording = data.draw(st.sampled_from(small))
    sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=20))
    check(recording, cut(recording.data, sizes))


@usefixtures
@pytest.mark.parametrize("recording", ALL, ids=str)
def test_what_was_said_before_the_stream_is_cut_off_is_kept(recording: Recording) -> None:
    whole, _ = hear(recording.dialect, [recording.data])
    for share in (0.3, 0.6, 0.9):
        heard, _ = hear(recording.dialect, [recording.data[: int(len(recording.data) * share)]])
        assert whole.deltas.startswith(heard.deltas)


def test_events_before_a_failure_in_the_same_piece_are_not_lost() -> None:
    heard, _ = hear("chat", [sse(chunk("Hel"), {"error": "boom"})])
    assert heard.deltas == "Hel"
    assert heard.failure is not None


@pytest.mark.parametrize("dialect", ["responses", "chat"])
@pytest.mark.parametrize("data", ["not JSON", "[1]", '"text"', '{"choices": 3, "type": 3}'])
def test_an_event_that_makes_no_sense_keeps_what_was_said(dialect: str, data: str) -> None:
    first = delta("Hel") if dialect == "responses" else chunk("Hel")
    heard, _ = hear(dialect, [sse(first, data)])
    assert heard.deltas == "Hel"
    assert heard.failure is not None
    assert "can't be read" in heard.failure.message
    assert heard.failure.allow_retry


KINDS = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.image_generation_call.partial_image",
    "response.completed",
    "response.incomplete",
    "error",
]
ITEMS = [
    "message",
    "reasoning",
    "function_call",
    "image_generation_call",
    "code_interpreter_call",
    "mcp_call",
]
FIELDS = ["type", "text", "summary", "content", "annotations", "url", "filename", "index", "name", "id"]
FIELDS += ["call_id", "arguments", "result", "code", "outputs", "function", "output", "tools", "status"]
PARTS = ["content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "annotations"]
PARTS += ["function_call", "images", "refusal"]
scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=6) | st.sampled_from(ITEMS)
)
objects = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


def shaped(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), objects, max_size=5)


response_events = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(KINDS),
    shaped(["item", "delta", "text", "output_index", "content_index", "annotation", "response", "code"]),
)
chat_events = st.builds(
    lambda delta, fields: {**fields, "choices": [{"delta": delta}]},
    shaped(PARTS),
    shaped(["citations", "search_results", "usage"]),
)


@settings(max_examples=150)
@given(st.lists(response_events, max_size=6))
def test_no_response_of_whatever_shape_is_worse_than_a_failure(events: list[dict[str, Any]]) -> None:
    hear("responses", [sse(delta("Hel"), *events, completed())], str)


@settings(max_examples=150)
@given(st.lists(chat_events, max_size=6))
def test_no_completion_of_whatever_shape_is_worse_than_a_failure(events: list[dict[str, Any]]) -> None:
    hear("chat", [sse(chunk("Hel"), *events, "[DONE]")], str)


@pytest.mark.parametrize("tail", [b"", b"data: {"])
def test_a_stream_cut_within_an_event_broke_off(tail: bytes) -> None:
    heard, _ = hear("responses", [sse(delta("Hel")) + tail])
    assert heard.deltas == "Hel"
    assert heard.failure is not None
    assert "broke off" in heard.failure.message


def test_the_last_event_may_lack_its_blank_line() -> None:
    heard, _ = hear("responses", [sse(delta("Hello"), completed()).rstrip(b"\n")])
    assert heard.failure is None
    assert heard.deltas == "Hello"


@pytest.mark.parametrize("body", [b"<html><body>Log in</body></html>", b'{"id": "x", "choices": []}', b""])
def test_a_body_that_is_no_event_stream_is_named_in_the_log_only(body: bytes) -> None:
    heard, _ = hear("chat", [body])
    assert heard.failure is not None
    assert "can't be read" in heard.failure.message
    assert repr(body) in heard.failure.detail
    assert body.decode() == "" or body.decode() not in heard.failure.message


def test_an_error_as_a_plain_body_is_understood() -> None:
    heard, _ = hear("chat", [b'{"error": {"code": "insufficient_quota", "message": "pay"}}'])
    assert heard.failure is not None
    assert "credit" in heard.failure.message
    assert not heard.failure.allow_retry


def test_an_event_without_end_does_not_eat_the_memory() -> None:
    heard, _ = hear("chat", (b"data: " + b"x" * 1_000_000 for _ in range(40)))
    assert heard.failure is not None
    assert "larger than" in heard.failure.detail
