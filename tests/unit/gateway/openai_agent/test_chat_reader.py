"""Streams of the Chat Completions dialect, with the habits of many servers: what is read."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_protocol.store.turns import Usage
from tests.unit.gateway.openai_agent.samples import chunk, hear, sse


def said(*payloads: dict[str, Any] | str) -> list[list[str]]:
    heard, _ = hear("chat", [sse(*payloads)])
    assert heard.failure is None, heard.failure.detail
    return heard.texts


def failure(*payloads: dict[str, Any] | str) -> tuple[str, bool, list[list[str]]]:
    heard, _ = hear("chat", [sse(*payloads)])
    assert heard.failure is not None
    return heard.failure.message, heard.failure.allow_retry, heard.texts


@pytest.mark.parametrize(
    "payloads",
    [
        [chunk("Hel"), chunk("lo", "stop"), "[DONE]"],
        [chunk("Hel"), chunk("lo"), chunk(None, "stop")],
        [chunk("Hel"), chunk("lo"), "[DONE]"],
        [chunk("Hel"), chunk("lo", "stop"), chunk(None, "stop"), "[DONE]"],
        [chunk("Hel"), chunk("lo", "stop"), "[DONE]", {"choices": [], "cost": "0"}, "not JSON"],
        [{"choices": []}, chunk("Hello", "stop"), {"choices": None}],
        [{"choices": [{"index": 0}]}, chunk("Hello", "stop")],
        [{"choices": [{"delta": {"content": "Hello"}, "index": None, "finish_reason": "stop"}]}],
        [{"choices": [{"delta": {"refusal": "Hello", "content": None}}]}, "[DONE]"],
        [{"choices": [{"delta": {"content": [{"type": "text", "text": "Hello"}]}}]}, "[DONE]"],
        [chunk("Hello", "stop", error=None), "[DONE]"],
        [chunk("Hello"), {"choices": [{"index": 1, "delta": {"content": "Other"}}]}, "[DONE]"],
    ],
)
def test_the_habits_of_servers_make_no_difference(payloads: list[Any]) -> None:
    assert said(*payloads) == [["Hello"]]


def test_a_text_repeated_in_every_chunk_is_said_once() -> None:
    first, second = chunk("Hel"), chunk("lo", "stop")
    first["choices"][0]["message"] = {"role": "assistant", "content": "Hel"}
    second["choices"][0]["message"] = {"role": "assistant", "content": "Hello"}
    assert said(first, second) == [["Hello"]]


def test_the_last_count_of_tokens_is_kept() -> None:
    usages = [{"prompt_tokens": 3, "completion_tokens": 1}, {"prompt_tokens": 3, "completion_tokens": 2}]
    _, answer = hear("chat", [sse(*(chunk("a", "stop", usage=usage) for usage in usages), "[DONE]")])
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_a_completion_of_tool_calls_alone_ends_quietly(delta: dict[str, Any]) -> None:
    assert said({"choices": [{"delta": delta, "finish_reason": "tool_calls"}]}, "[DONE]") == []


def test_thoughts_alone_are_no_answer() -> None:
    thought = {"choices": [{"delta": {"content": "", "reasoning": "Hmm"}, "finish_reason": "stop"}]}
    assert failure(thought, "[DONE]") == ("The model gave no answer. Please try again.", True, [])


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": 429, "message": "slow down"}},
        {"error": {"type": "rate_limit_error", "message": "slow down"}},
        {"error": {"code": "429", "message": "slow down"}},
        {"object": "error", "code": 429, "message": "slow down"},
        chunk("", None, error={"status_code": 429}),
    ],
)
def test_an_error_in_the_stream_keeps_what_was_said(error: dict[str, Any]) -> None:
    busy = "The model service is busy. Please try again in a moment."
    assert failure(chunk("Hel"), error, "[DONE]") == (busy, True, [["Hel"]])


@pytest.mark.parametrize("error", ["it broke", {"message": "it broke"}, {"code": 400, "message": "bad call"}])
def test_an_error_of_its_own_kind_may_be_tried_again(error: Any) -> None:
    message, allow_retry, texts = failure(chunk("Hel"), {"error": error})
    assert (message, allow_retry) == ("The model stopped with an error. Please try again.", True)
    assert texts == [["Hel"]]


@pytest.mark.parametrize(
    ("reason", "words"), [("length", "length limit"), ("content_filter", "content filter")]
)
def test_a_shortened_completion_is_kept_and_explained(reason: str, words: str) -> None:
    heard, _ = hear("chat", [sse(chunk("Hel"), chunk(None, reason), "[DONE]")])
    assert heard.texts == [["Hel"]]
    assert heard.kinds[-2:] == ["thread.item.done", "notice"]
    assert words in heard.events[-1].message  # pyright: ignore[reportAttributeAccessIssue] (a notice, see above)


def test_a_stream_without_its_end_is_a_failure() -> None:
    assert failure(chunk("Hel")) == ("The model's answer broke off. Please try again.", True, [["Hel"]])
