"""The Responses dialect: event kinds, order and fields as in the API's recorded streams."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from bobbin_gateway.demo_model.answer import Answer, Frames

_encode = msgspec.json.Encoder().encode

ERROR_MESSAGE = "The model had an error while writing its answer."


def frames(answer: Answer) -> Frames:
    """The stream of an answer."""
    return _Stream(answer).frames()


def whole(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    return _encode(_response(answer, _ending(answer), _groups(answer)))


class _Stream:
    """Numbers the events of one response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._item_id = f"msg_{answer.id}"
        self._kind = "refusal" if answer.refusal else "output_text"
        self._number = 0

    def frames(self) -> Frames:
        answer = self._answer
        if answer.background:
            head = self._state("response.created", "queued") + self._state("response.queued", "queued")
        else:
            head = self._state("response.created", "in_progress")
        head += self._state("response.in_progress", "in_progress")
        if answer.fails_after == 0:
            return Frames(head, [], self._failure())
        groups = _groups(answer)
        head += self._item("added", "in_progress", []) + self._open_part(0)
        deltas = self._deltas(groups)
        if answer.fails_after is not None:
            return Frames(head, deltas, self._failure())
        status = _ending(answer)
        tail = self._close_part(len(groups) - 1, groups[-1]) + self._item("done", status, groups)
        return Frames(head, deltas, tail + self._state(f"response.{status}", status, groups))

    def _deltas(self, groups: list[list[str]]) -> list[bytes]:
        frames: list[bytes] = []
        left = len(self._answer.deltas)
        for index, group in enumerate(groups):
            between = b""
            if index:
                between = self._close_part(index - 1, groups[index - 1]) + self._open_part(index)
            for piece in group[:left]:
                frames.append(between + self._part_event("delta", index, delta=piece))
                between = b""
            left -= len(group)
            if left <= 0:
                break
        return frames

    def _state(self, event: str, status: str, groups: list[list[str]] | None = None) -> bytes:
        return self._event(event, response=_response(self._answer, status, groups))

    def _item(self, event: str, status: str, groups: list[list[str]]) -> bytes:
        item = _message(self._answer, status, groups)
        return self._event(f"response.output_item.{event}", output_index=0, item=item)

    def _open_part(self, index: int) -> bytes:
        place = self._place(index)
        return self._event("response.content_part.added", **place, part=_part(self._answer, ""))

    def _close_part(self, index: int, group: list[str]) -> bytes:
        text = "".join(group)
        done = {"refusal": text} if self._answer.refusal else {"text": text}
        part = _part(self._answer, text)
        return self._part_event("done", index, **done) + self._event(
            "response.content_part.done", **self._place(index), part=part
        )

    def _part_event(self, event: str, index: int, **fields: str) -> bytes:
        logprobs: dict[str, list[Any]] = {} if self._answer.refusal else {"logprobs": []}
        return self._event(f"response.{self._kind}.{event}", **self._place(index), **fields, **logprobs)

    def _place(self, index: int) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": index}

    def _failure(self) -> bytes:
        answer = self._answer
        error = {"code": answer.error_code, "message": ERROR_MESSAGE, "param": None}
        if answer.error_shape == "flat":
            event = self._event("error", **error)
        else:
            event = self._event("error", error={"type": answer.error_code, **error})
        return event + self._state("response.failed", "failed")

    def _event(self, event: str, **fields: Any) -> bytes:
        data = _encode({"type": event, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"


def _groups(answer: Answer) -> list[list[str]]:
    """The deltas of each content part; none is empty unless the answer is."""
    parts = max(1, min(answer.parts, len(answer.pieces)))
    bounds = [len(answer.pieces) * index // parts for index in range(parts + 1)]
    return [answer.pieces[start:end] for start, end in pairwise(bounds)]


def _ending(answer: Answer) -> str:
    return "incomplete" if answer.incomplete else "completed"


def _part(answer: Answer, text: str) -> dict[str, Any]:
    if answer.refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(answer: Answer, status: str, groups: list[list[str]]) -> dict[str, Any]:
    content = [_part(answer, "".join(group)) for group in groups]
    item = {"id": f"msg_{answer.id}", "type": "message", "status": status, "role": "assistant"}
    return {**item, "content": content}


def _response(answer: Answer, status: str, groups: list[list[str]] | None = None) -> dict[str, Any]:
    ended = groups is not None
    failure = {"code": answer.error_code, "message": ERROR_MESSAGE} if status == "failed" else None
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "background": answer.background,
        "error": failure,
        "incomplete_details": {"reason": answer.incomplete} if ended and answer.incomplete else None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": answer.model,
        "output": [_message(answer, status, groups)] if groups is not None else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": answer.background,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(answer) if ended else None,
        "user": None,
        "metadata": {},
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
