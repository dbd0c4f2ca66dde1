"""Streams of the Chat Completions dialect, with the habits of many servers: what is read."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_protocol.store.turns import Usage
from tests.unit.gateway.openai_agent.recordings_full import plain_item
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


def piece(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def shown(*payloads: dict[str, Any] | str) -> tuple[list[tuple[Any, ...]], Answer]:
    """The items, as the table of recordings has them."""
    heard, answer = hear("chat", [sse(*payloads, "[DONE]")], str)
    assert heard.failure is None, heard.failure.detail
    return [plain_item(item) for item in heard.items], answer


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": "Hmm"},
        {"reasoning": "Hmm"},
        {"reasoning_content": "Hmm", "reasoning": "Hmm"},
        {"reasoning": "Hmm", "reasoning_details": [{"type": "reasoning.text", "text": "Hmm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hmm"}, {"type": "reasoning.encrypted"}]},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "Hmm"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm"}]}]},
        {"content": [{"type": "thinking", "thinking": "Hmm"}]},
    ],
)
def test_thoughts_are_understood_whatever_they_are_called(thought: dict[str, Any]) -> None:
    items, _ = shown(piece(**thought), chunk("Hello"))
    assert items == [("reasoning", [("thought", "Hmm")]), ("message", [("Hello", [])])]


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": ""},
        {"reasoning": {"effort": "low"}},
        {"reasoning_details": "none"},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}, 7]},
        {"content": [{"type": "thinking"}, {"type": "reference", "reference_ids": [1]}, 7]},
    ],
)
def test_thoughts_that_cannot_be_read_show_nothing(thought: dict[str, Any]) -> None:
    assert shown(piece(**thought), chunk("Hello"))[0] == [("message", [("Hello", [])])]


def test_thoughts_after_a_call_and_after_text_are_new_ones() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "add", "arguments": "{}"}}
    items, _ = shown(
        piece(reasoning="One"),
        piece(tool_calls=[call]),
        piece(reasoning="Two"),
        chunk("Hello"),
        piece(reasoning="Three"),
        chunk(" you"),
    )
    assert items == [
        (
            "reasoning",
            [
                ("thought", "One"),
                ("custom", "loading", "add", None),
                ("thought", "Two"),
                ("thought", "Three"),
            ],
        ),
        ("message", [("Hello you", [])]),
    ]


def test_a_call_of_the_dialect_s_first_days_is_one_like_the_others() -> None:
    _, answer = shown(
        piece(function_call={"name": "add", "arguments": ""}), piece(function_call={"arguments": '{"a":1}'})
    )
    [call] = answer.calls
    assert (call.name, call.arguments) == ("add", '{"a":1}')
    assert call.call_id.startswith("tc_")


def test_images_that_a_model_makes_are_shown() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    bad = {"type": "image_url", "image_url": {"url": "javascript:alert(1)"}}
    items, answer = shown(piece(images=[image, bad, 7]))
    assert items == [("image", "data:image/png;base64,AAAA")]
    assert answer.has_images


def test_sources_are_kept_once_wherever_they_come() -> None:
    url = "https://example.org/a"
    citation = {"type": "url_citation", "url_citation": {"url": url, "title": "A", "end_index": 5}}
    expected = [("message", [("Hello", [(url, "A", 5)])])]
    assert shown(piece(annotations=[citation]), chunk("Hello"))[0] == expected
    assert shown(chunk("Hello"), piece(annotations=[citation]), piece(annotations=[citation]))[0] == expected
    plain = [("message", [("Hello", [(url, "example.org", None)])])]
    assert shown(chunk("Hello", citations=[url]))[0] == plain
    assert shown(chunk("Hel"), chunk("lo"), {"choices": [], "citations": [url]})[0] == plain
    assert shown(chunk("Hello", citations=None, search_results=None))[0] == [("message", [("Hello", [])])]
