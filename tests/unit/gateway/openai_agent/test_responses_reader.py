"""Streams of the Responses dialect: what is read."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.tools.tool import ToolCall
from bobbin_protocol.events import ThreadItemUpdatedEvent
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.updates import GeneratedImageUpdated
from tests.unit.gateway.openai_agent.recordings_full import plain_item
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


def added(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def shown(*payloads: dict[str, Any] | str) -> tuple[list[tuple[Any, ...]], Answer]:
    """The items, as the table of recordings has them."""
    heard, answer = hear("responses", [sse(*payloads)], str)
    assert heard.failure is None, heard.failure.detail
    return [plain_item(item) for item in heard.items], answer


SUMMARY = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hmm"}]}
RAW = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hmm"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a":1}'}
IMAGE = {"type": "image_generation_call", "status": "completed", "result": "UklGR", "output_format": "webp"}
CITED = {
    "type": "message",
    "content": [
        {
            "type": "output_text",
            "text": "Hello",
            "annotations": [{"type": "file_citation", "filename": "a.txt", "index": 5}],
        }
    ],
}


@pytest.mark.parametrize("item", [SUMMARY, RAW])
@pytest.mark.parametrize(
    "frame", [lambda item: [done(item), completed()], lambda item: [completed(output=[item, MESSAGE])]]
)
def test_thoughts_that_come_whole_are_not_lost(item: dict[str, Any], frame: Any) -> None:
    items, _ = shown(*frame(item)[:-1], delta("Hello", output=1), *frame(item)[-1:])
    if items[0][0] == "reasoning":
        assert items[0] == ("reasoning", [("thought", "Hmm")])
    else:  # what the end repeats comes after what was said
        assert ("reasoning", [("thought", "Hmm")]) in items


def test_thoughts_that_are_repeated_whole_are_not_shown_twice() -> None:
    piece = {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "output_index": 0}
    whole = {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": "Hmm"}
    stream = [added(SUMMARY), {**piece, "delta": "H"}, {**piece, "delta": "mm"}, whole, done(SUMMARY)]
    items, _ = shown(*stream, delta("Hello", output=1), completed(output=[SUMMARY, MESSAGE]))
    assert items == [("reasoning", [("thought", "Hmm")]), ("message", [("Hello", [])])]


def test_thoughts_after_the_answer_stand_behind_it() -> None:
    piece = {"type": "response.reasoning_text.delta", "content_index": 0, "output_index": 0}
    items, _ = shown(
        {**piece, "delta": "Hm"}, delta("Hello", output=1), {**piece, "delta": "m"}, done(RAW), completed()
    )
    assert items == [
        ("reasoning", [("thought", "Hm")]),
        ("message", [("Hello", [])]),
        ("reasoning", [("thought", "m")]),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        [added({**CALL, "arguments": ""}), done(CALL), completed(output=[CALL])],
        [done(CALL), completed()],
        [completed(output=[CALL])],
        [done({**CALL, "arguments": {"a": 1}}), completed()],
        [
            added({**CALL, "arguments": ""}),
            {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a":1}'},
            "[DONE]",
        ],
    ],
)
def test_a_call_is_understood_however_it_comes(stream: list[Any]) -> None:
    items, answer = shown(*stream)
    assert answer.calls == [ToolCall(call_id="c", name="add", arguments='{"a":1}')]
    assert items == [("custom", [("custom", "loading", "add", None)])]


def test_a_call_after_a_call_and_a_second_message_keep_their_order() -> None:
    stream = [delta("Hello"), done(MESSAGE), done(CALL, 1), delta("Bye", output=2), completed()]
    items, answer = shown(*stream)
    assert [kind for kind, _ in items] == ["message", "custom", "message"]
    assert len(answer.calls) == 1


def test_annotations_that_only_come_with_the_whole_message_are_kept() -> None:
    expected = [("message", [("Hello", [("a.txt", "a.txt", 5)])])]
    assert shown(delta("Hello"), done(CITED), completed())[0] == expected
    assert shown(done(CITED), completed())[0] == expected
    assert shown(completed(output=[CITED]))[0] == expected
    told = {
        "type": "response.output_text.annotation.added",
        "annotation": {"type": "file_citation", "filename": "a.txt", "index": 99},
    }
    assert shown(delta("Hello"), told, done(CITED), completed(output=[CITED]))[0] == expected


def test_the_progress_of_an_image_is_known_when_its_states_are_counted() -> None:
    created = {"type": "response.created", "response": {"tools": [{"type": "x"}, {"partial_images": 2}]}}
    state = {
        "type": "response.image_generation_call.partial_image",
        "output_index": 0,
        "partial_image_b64": "UklGR",
    }
    states = [{**state, "partial_image_index": number} for number in range(2)]
    heard, answer = hear("responses", [sse(created, added(IMAGE), *states, done(IMAGE), completed())])
    progress = [
        event.update.progress
        for event in heard.events
        if isinstance(event, ThreadItemUpdatedEvent) and isinstance(event.update, GeneratedImageUpdated)
    ]
    assert progress == [0, 0.5]
    assert answer.has_images
    assert [plain_item(item) for item in heard.items] == [("image", "data:image/webp;base64,UklGR")]


def test_an_image_that_comes_whole_or_not_at_all() -> None:
    assert shown(completed(output=[IMAGE]))[0] == [("image", "data:image/webp;base64,UklGR")]
    failed = {**IMAGE, "status": "failed", "result": None}
    heard, _ = hear("responses", [sse(added(IMAGE), done(failed), delta("Sorry", output=1), completed())])
    assert heard.failure is None
    assert [plain_item(item) for item in heard.items] == [("message", [("Sorry", [])])]
    assert "notice" in heard.kinds


def test_tools_of_the_provider_that_never_end_do_not_seem_to_go_on() -> None:
    items, _ = shown(added({"type": "web_search_call"}), delta("Hello", output=1), completed())
    assert items[0] == ("custom", [("web_search", "none", "Searching the web", [])])


@pytest.mark.parametrize(
    "payload",
    [
        added({"type": "web_search_call", "action": 7}),
        done({"type": "code_interpreter_call", "outputs": "none", "code": []}),
        done({"type": "mcp_call", "error": {"x": 1}}),
        done({"type": "hologram", "x": [1]}),
        {"type": "response.output_text.annotation.added", "annotation": "?"},
        {"type": "response.code_interpreter_call.interpreting", "output_index": 0},
        {"type": "response.hologram.done"},
        {"type": "response.created", "response": {"tools": "none"}},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": None},
    ],
)
def test_odd_things_beside_the_text_do_no_harm(payload: dict[str, Any]) -> None:
    items, _ = shown(payload, delta("Hello", output=1), completed())
    assert ("message", [("Hello", [])]) in items
