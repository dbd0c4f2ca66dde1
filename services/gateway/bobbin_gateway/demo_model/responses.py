"""The Responses dialect: event kinds, order and fields as in the API's recorded streams."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import msgspec

from bobbin_gateway.demo_model.answer import Answer, Call, Frames

_encode = msgspec.json.Encoder().encode

ERROR_MESSAGE = "The model had an error while writing its answer."


def frames(answer: Answer) -> Frames:
    """The stream of an answer."""
    return _Stream(answer).frames()


def whole(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    return _encode(_response(answer, _ending(answer), ended=True))


class _Stream:
    """Numbers the events of one response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._item_id = f"msg_{answer.id}"
        self._kind = "refusal" if answer.refusal else "output_text"
        self._number = 0
        self._before = b""

    def frames(self) -> Frames:
        answer = self._answer
        if answer.background:
            head = self._state("response.created", "queued") + self._state("response.queued", "queued")
        else:
            head = self._state("response.created", "in_progress")
        head += self._state("response.in_progress", "in_progress")
        if answer.fails_after == 0:
            return Frames(head, [], self._failure())
        if answer.speaks:
            head += self._item("added", self._message("in_progress", [])) + self._open_part(0)
        deltas = list(islice(self._deltas(), answer.fails_after))
        if answer.fails_after is not None:
            return Frames(head, deltas, self._failure())
        status = _ending(answer)
        return Frames(head, deltas, self._before + self._state(f"response.{status}", status, ended=True))

    def _deltas(self) -> Iterator[bytes]:
        """A delta each, with what comes before it; what comes after the last one is left in `_before`."""
        answer = self._answer
        if answer.speaks:
            groups = _groups(answer)
            for index, group in enumerate(groups):
                if index:
                    self._before = self._close_part(index - 1, groups[index - 1]) + self._open_part(index)
                for piece in group:
                    yield self._taken() + self._part_event("delta", index, delta=piece)
            self._before = self._close_part(len(groups) - 1, groups[-1])
            self._before += self._item("done", self._message(_ending(answer), groups))
        for index, call in enumerate(answer.calls, start=int(answer.speaks)):
            place = {"item_id": f"fc_{call.id}", "output_index": index}
            yield self._taken() + self._item("added", _call(call, "in_progress", ""), index)
            for piece in call.pieces:
                yield self._event("response.function_call_arguments.delta", **place, delta=piece)
            self._before = self._close_call(index, call)

    def _taken(self) -> bytes:
        before, self._before = self._before, b""
        return before

    def _close_call(self, index: int, call: Call) -> bytes:
        place = {"item_id": f"fc_{call.id}", "output_index": index}
        done = self._event("response.function_call_arguments.done", **place, arguments=call.arguments)
        return done + self._item("done", _call(call, "completed", call.arguments), index)

    def _state(self, event: str, status: str, *, ended: bool = False) -> bytes:
        return self._event(event, response=_response(self._answer, status, ended=ended))

    def _item(self, event: str, item: dict[str, Any], index: int = 0) -> bytes:
        return self._event(f"response.output_item.{event}", output_index=index, item=item)

    def _message(self, status: str, groups: list[list[str]]) -> dict[str, Any]:
        return _message(self._answer, status, groups)

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


def _call(call: Call, status: str, arguments: str) -> dict[str, Any]:
    item = {"id": f"fc_{call.id}", "type": "function_call", "status": status, "call_id": call.id}
    return {**item, "name": call.name, "arguments": arguments}


def _output(answer: Answer, status: str) -> list[dict[str, Any]]:
    said = [_message(answer, status, _groups(answer))] if answer.speaks else []
    return said + [_call(call, "completed", call.arguments) for call in answer.calls]


def _response(answer: Answer, status: str, *, ended: bool) -> dict[str, Any]:
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
        "output": _output(answer, status) if ended else [],
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
