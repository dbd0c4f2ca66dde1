"""Streams of the Responses dialect: what is read."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_protocol.store.turns import Usage
from tests.unit.gateway.openai_agent.samples import completed, delta, hear, sse

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}


def said(*payloads: dict[str, Any] | str) -> list[list[str]]:
    heard, _ = hear("responses", [sse(*payloads)])
    assert heard.failure is None, heard.failure.detail
    return heard.texts


def failure(*payloads: dict[str, Any] | str) -> tuple[str, bool, list[list[str]]]:
    heard, _ = hear("responses", [sse(*payloads)])
    assert heard.failure is not None
    return heard.failure.message, heard.failure.allow_retry, heard.texts


def test_each_message_of_a_response_becomes_an_item() -> None:
    done = {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}
    assert said(delta("Hello"), done, delta("Bye", output=1), completed()) == [["Hello"], ["Bye"]]


def test_several_parts_of_a_message_are_kept_apart() -> None:
    assert said(delta("One"), delta("Two", part=1), completed()) == [["One", "Two"]]


def test_items_are_told_apart_by_their_place_because_ids_may_change() -> None:
    first, second = {**delta("Hel"), "item_id": "a"}, {**delta("lo"), "item_id": "b"}
    assert said(first, second, completed()) == [["Hello"]]


def test_a_refusal_is_what_the_model_said() -> None:
    refusal = {"type": "response.refusal.delta", "delta": "No.", "output_index": 0, "content_index": 0}
    assert said(refusal, completed()) == [["No."]]


@pytest.mark.parametrize(
    "payloads",
    [
        [{"type": "response.output_text.done", "text": "Hello"}],
        [{"type": "response.refusal.done", "refusal": "Hello"}],
        [{"type": "response.output_item.done", "item": MESSAGE, "output_index": 3}],
        [completed(output=[{"type": "reasoning"}, MESSAGE])],
    ],
)
def test_a_text_that_comes_whole_is_not_lost(payloads: list[dict[str, Any]]) -> None:
    assert said(*payloads, completed()) == [["Hello"]]


def test_a_text_that_is_repeated_whole_is_not_said_twice() -> None:
    done = {"type": "response.output_text.done", "text": "Hello"}
    item = {"type": "response.output_item.done", "item": MESSAGE, "output_index": 0}
    assert said(delta("Hello", part=1), item, completed(output=[MESSAGE])) == [["Hello"]]
    assert said(delta("Hello"), done, item, completed(output=[MESSAGE])) == [["Hello"]]


def test_the_provider_s_count_of_tokens_is_kept() -> None:
    _, answer = hear(
        "responses", [sse(delta("a"), completed(usage={"input_tokens": 3, "output_tokens": None}))]
    )
    assert answer.usage == Usage(input_tokens=3, output_tokens=0)


@pytest.mark.parametrize(
    "kind", ["function_call", "mcp_approval_request", "image_generation_call", "new_kind"]
)
def test_a_response_of_tool_calls_alone_ends_quietly(kind: str) -> None:
    item = {"type": "response.output_item.done", "output_index": 0, "item": {"type": kind}}
    assert said(item, completed()) == []


def test_thoughts_alone_are_no_answer() -> None:
    item = {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning"}}
    assert failure(item, completed()) == ("The model gave no answer. Please try again.", True, [])


def test_kinds_of_events_that_nobody_knows_are_passed_over() -> None:
    unknown = {"type": "response.hologram.delta", "delta": {"x": [1]}, "output_index": "none"}
    assert said(unknown, delta("Hello"), {"no": "type"}, completed()) == [["Hello"]]


def test_null_counts_as_absent() -> None:
    assert said({**delta(""), "delta": None}, delta("Hello"), completed(output=None, usage=None)) == [
        ["Hello"]
    ]


def test_some_servers_end_by_done_instead_of_a_completed_response() -> None:
    assert said(delta("Hello"), "[DONE]") == [["Hello"]]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
        {"type": "error", "error": {"type": "rate_limit_exceeded", "code": None, "message": "slow down"}},
        {"type": "error", "error": {"code": 429, "message": "slow down"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "rate_limit_exceeded"}},
        },
    ],
)
def test_an_error_in_the_stream_keeps_what_was_said(error: dict[str, Any]) -> None:
    busy = "The model service is busy. Please try again in a moment."
    assert failure(delta("Hel"), error) == (busy, True, [["Hel"]])


@pytest.mark.parametrize("kind", ["failed", "cancelled"])
def test_a_response_that_failed_without_a_reason_may_be_tried_again(kind: str) -> None:
    message, allow_retry, _ = failure(delta("Hel"), {"type": f"response.{kind}", "response": {}})
    assert (message, allow_retry) == ("The model stopped with an error. Please try again.", True)


@pytest.mark.parametrize(
    ("reason", "words"),
    [("max_output_tokens", "length limit"), ("content_filter", "content filter"), (None, "early")],
)
def test_an_incomplete_response_is_kept_and_explained(reason: str | None, words: str) -> None:
    end = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": reason}}}
    heard, _ = hear("responses", [sse(delta("Hel"), end)])
    assert heard.texts == [["Hel"]]
    assert heard.kinds[-2:] == ["thread.item.done", "notice"]
    assert words in heard.events[-1].message  # pyright: ignore[reportAttributeAccessIssue] (a notice, see above)


def test_a_stream_without_its_end_is_a_failure() -> None:
    assert failure(delta("Hel")) == ("The model's answer broke off. Please try again.", True, [["Hel"]])
