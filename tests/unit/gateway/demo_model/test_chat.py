"""The Chat Completions stream is shaped like the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bobbin_gateway.demo_model import chat
from bobbin_gateway.demo_model.answer import Answer, Call


def _answer(*pieces: str, **options: Any) -> Answer:
    return Answer(model="m", pieces=list(pieces), input_tokens=7, **options)


def _chunks(stream: bytes) -> list[dict[str, Any]]:
    *blocks, done, rest = stream.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def _stream(answer: Answer) -> list[dict[str, Any]]:
    frames = chat.frames(answer)
    return _chunks(frames.head + b"".join(frames.deltas) + frames.tail)


def _keys(chunk: dict[str, Any]) -> tuple[list[str], list[str], list[str], list[str]]:
    choice = chunk["choices"][0] if chunk["choices"] else {}
    return sorted(chunk), sorted(choice), sorted(choice.get("delta", {})), sorted(chunk.get("usage", {}))


@pytest.mark.parametrize("place", [0, 1, -2], ids=["opening", "delta", "finish"])
@pytest.mark.parametrize("refusal", [False, True])
def test_chunks_have_the_fields_of_recorded_ones(recordings: Path, place: int, refusal: bool) -> None:
    """Role chunk, deltas and finish chunk have the same fields as those of the real API."""
    name = "chat-openai-refusal" if refusal else "chat-openai-text-usage"
    real = _chunks((recordings / f"{name}.sse").read_bytes())
    ours = _stream(_answer("I'm", " unable", includes_usage=True, refusal=refusal))
    assert _keys(ours[place]) == _keys(real[place])
    assert ours[0]["choices"][0]["delta"] == real[0]["choices"][0]["delta"]


def test_usage_comes_only_when_asked_for() -> None:
    """`stream_options.include_usage` adds a chunk without choices."""
    without, with_usage = (_stream(_answer("a", "b", includes_usage=asked)) for asked in (False, True))
    assert not any("usage" in chunk for chunk in without)
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"]["total_tokens"] == 7 + 2
    assert len(with_usage) == len(without) + 1


@pytest.mark.parametrize(
    ("incomplete", "reason"),
    [(None, "stop"), ("max_output_tokens", "length"), ("content_filter", "content_filter")],
)
def test_the_finish_reason_tells_the_end(incomplete: Any, reason: str) -> None:
    """The reasons have the names of this dialect, and every chunk is of the official type."""
    answer = _answer("a", incomplete=incomplete)
    chunks = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in _stream(answer)]
    assert chunks[-1].choices[0].finish_reason == reason
    whole = ChatCompletion.model_validate_json(chat.whole(answer))
    assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == (reason, "a")


@pytest.mark.parametrize(("after", "before"), [(0, 0), (1, 2), (9, 3)])
def test_an_error_ends_the_stream(after: int, before: int) -> None:
    """An error object takes the place of the rest; as the very first thing, of everything."""
    chunks = _stream(_answer("a", "b", fails_after=after, error_code="rate_limit_exceeded"))
    assert len(chunks) == before + 1
    assert chunks[-1]["error"]["code"] == "rate_limit_exceeded"


def test_a_whole_refusal_has_no_content() -> None:
    """The refusal stands in its own field."""
    message = (
        ChatCompletion.model_validate_json(chat.whole(_answer("No", ".", refusal=True))).choices[0].message
    )
    assert (message.content, message.refusal) == (None, "No.")


def test_calls_are_named_first_and_their_arguments_come_in_pieces() -> None:
    calls = [Call("call_1", "add", ['{"a"', ":1}"]), Call("call_2", "now", ["{}"])]
    chunks = _stream(_answer(calls=calls))
    pieces = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(piece["index"], piece["function"]["arguments"]) for piece in pieces] == [
        (0, ""),
        (0, '{"a"'),
        (0, ":1}"),
        (1, ""),
        (1, "{}"),
    ]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["call_1", "call_2"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
