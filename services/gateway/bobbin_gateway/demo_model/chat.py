"""The Chat Completions dialect: chunks as in the API's recorded streams."""

from __future__ import annotations

from typing import Any

import msgspec

from bobbin_gateway.demo_model.answer import Answer, Call, ErrorBody, ErrorResponse, Frames
from bobbin_gateway.demo_model.responses import ERROR_MESSAGE

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"
_FINISH_REASONS = {None: "stop", "max_output_tokens": "length", "content_filter": "content_filter"}


def frames(answer: Answer) -> Frames:
    """The stream of an answer."""
    if answer.fails_after == 0:
        return Frames(b"", [], _failure(answer))
    field = "refusal" if answer.refusal else "content"
    opening = {"content": None, "refusal": None, field: ""}
    head = _chunk(answer, {"role": "assistant", **opening})
    deltas = [_chunk(answer, {field: piece}) for piece in answer.pieces]
    for index, call in enumerate(answer.calls):
        deltas += _call_chunks(answer, index, call)
    if answer.fails_after is not None:
        return Frames(head, deltas[: answer.fails_after], _failure(answer))
    tail = _chunk(answer, {}, _finish_reason(answer))
    if answer.includes_usage:
        tail += _block({**_envelope(answer, "chat.completion.chunk"), "choices": [], "usage": _usage(answer)})
    return Frames(head, deltas, tail + _DONE)


def whole(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.refusal else answer.text,
        "refusal": answer.text if answer.refusal else None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish_reason(answer),
    }
    return _encode({**_envelope(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)})


def _chunk(answer: Answer, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _block({**_envelope(answer, "chat.completion.chunk"), "choices": [choice]})


def _call_chunks(answer: Answer, index: int, call: Call) -> list[bytes]:
    """The name comes first, the arguments piece by piece."""
    deltas = [
        {"index": index, **_call(call, "")},
        *({"index": index, "function": {"arguments": piece}} for piece in call.pieces),
    ]
    return [_chunk(answer, {"tool_calls": [delta]}) for delta in deltas]


def _call(call: Call, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _finish_reason(answer: Answer) -> str:
    return "tool_calls" if answer.calls else _FINISH_REASONS[answer.incomplete]


def _failure(answer: Answer) -> bytes:
    error = ErrorBody(message=ERROR_MESSAGE, type=answer.error_code, code=answer.error_code)
    return _block(ErrorResponse(error)) + _DONE


def _envelope(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "fp_demo",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _block(payload: object) -> bytes:
    return b"data: " + _encode(payload) + b"\n\n"
