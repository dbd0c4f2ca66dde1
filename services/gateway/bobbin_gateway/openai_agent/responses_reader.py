"""Streams of the Responses dialect (platform.openai.com/docs/api-reference/responses-streaming).

Kinds of events and items that are not named here are passed over: every provider has some of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from bobbin_gateway.openai_agent import failures, hosted_tools
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.openai_agent.citations import annotation_of, fields_of, items_of, text_of
from bobbin_gateway.openai_agent.images import image_url
from bobbin_protocol.events import NoticeEvent, ThreadStreamEvent
from bobbin_protocol.wire import encode_json


class ResponsesReader:
    """Reads one streamed response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        kind = _decode_kind(data).type
        if kind == "response.output_text.delta":
            text = _decode_delta(data)
            return self._answer.say(text.output_index, text.content_index, text.delta or "")
        if kind.endswith(".delta"):
            return self._read_delta(kind, data)
        match kind:
            case "response.output_item.added":
                return self._begin_item(_decode_item(data))
            case "response.output_item.done":
                return self._close_item(_decode_item(data))
            case "response.output_text.annotation.added":
                cited = _decode_citation(data)
                annotation = annotation_of(cited.annotation)
                return self._answer.annotate(cited.output_index, cited.content_index, annotation)
            case "response.image_generation_call.partial_image":
                image = _decode_image(data)
                url = image_url(image.partial_image_b64, image.output_format)
                return self._answer.show_image(image.output_index, url, image.partial_image_index)
            case "response.created":
                self._answer.images.partial_images = _partial_images(_decode_object(data))
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                return self._end(kind.removeprefix("response."), _decode_end(data).response)
            case "error" | "":
                self._fail(_decode_object(data))
            case _ if kind.endswith(".done"):
                return self._read_done(kind, data)
            case _:
                pass
        return []

    def _read_delta(self, kind: str, data: bytes) -> list[ThreadStreamEvent]:
        """What comes token by token, but for text."""
        answer = self._answer
        match kind:
            case "response.reasoning_summary_text.delta":
                delta = _decode_delta(data)
                return answer.work.think(delta.output_index, _summary(delta.summary_index), delta.delta or "")
            case "response.reasoning_text.delta":
                delta = _decode_delta(data)
                return answer.work.think(delta.output_index, _thought(delta.content_index), delta.delta or "")
            case "response.function_call_arguments.delta":
                delta = _decode_delta(data)
                return answer.work.call(delta.output_index, arguments=delta.delta or "")
            case "response.code_interpreter_call_code.delta":
                delta = _decode_delta(data)
                return answer.work.write_code(delta.output_index, delta.delta or "")
            case "response.refusal.delta":
                delta = _decode_delta(data)
                return answer.say(delta.output_index, delta.content_index, delta.delta or "")
            case _:
                return []

    def _read_done(self, kind: str, data: bytes) -> list[ThreadStreamEvent]:
        """What came token by token, as a whole."""
        answer = self._answer
        match kind:
            case "response.output_text.done" | "response.refusal.done":
                done = _decode_done(data)
                text = done.text or done.refusal or ""
                return answer.settle(done.output_index, done.content_index, text)
            case "response.reasoning_summary_text.done":
                done = _decode_done(data)
                part = _summary(done.summary_index)
                return answer.work.settle_thought(done.output_index, part, done.text or "")
            case "response.reasoning_text.done":
                done = _decode_done(data)
                part = _thought(done.content_index)
                return answer.work.settle_thought(done.output_index, part, done.text or "")
            case "response.code_interpreter_call_code.done":
                done = _decode_done(data)
                return answer.work.run_code(done.output_index, done.code or "")
            case _:
                return []

    def _note_kind(self, kind: str) -> None:
        if kind == "message":  # which may turn out to be empty
            return
        self._answer.heard.add(kind)
        self._answer.acted = self._answer.acted or kind != "reasoning"

    def _begin_item(self, begun: _ItemEvent) -> list[ThreadStreamEvent]:
        answer, place, kind = self._answer, begun.output_index, _decode_kind(begun.item).type
        self._note_kind(kind)
        match kind:
            case "message":
                return []
            case "reasoning":
                return answer.work.think(place)
            case "function_call":
                call = _decode_call(begun.item)
                return answer.work.call(place, call_id=call.call_id or "", name=call.name or "")
            case "image_generation_call":
                return answer.begin_image(place)
            case _:
                return answer.work.show_hosted(place, _decode_object(begun.item), done=False)

    def _close_item(self, done: _ItemEvent) -> list[ThreadStreamEvent]:
        answer, place, kind = self._answer, done.output_index, _decode_kind(done.item).type
        self._note_kind(kind)
        match kind:
            case "message":
                return self._close_message(done)
            case "reasoning":
                return self._close_thoughts(done)
            case "function_call":
                call = _decode_call(done.item)
                return answer.work.settle_call(
                    place, call_id=call.call_id or "", name=call.name or "", arguments=call.written()
                )
            case "image_generation_call":
                image = _decode_object(done.item)
                return answer.end_image(place, image_url(image.get("result"), image.get("output_format")))
            case _:
                return self._close_hosted(place, _decode_object(done.item))

    def _close_message(self, done: _ItemEvent) -> list[ThreadStreamEvent]:
        answer, place = self._answer, done.output_index
        events: list[ThreadStreamEvent] = []
        parts = _parts(done.item)
        if not answer.is_open(place):
            # Some servers send the whole text in the end only.
            for index, part in enumerate(parts):
                events += answer.say(place, index, part.said())
        for index, part in enumerate(parts):
            for citation in part.annotations or []:
                events += answer.annotate(place, index, annotation_of(citation))
        return events + answer.close(place)

    def _close_thoughts(self, done: _ItemEvent) -> list[ThreadStreamEvent]:
        """Nothing more is thought there; some servers send their thoughts in the end only."""
        work, place, item = self._answer.work, done.output_index, _decode_object(done.item)
        events: list[ThreadStreamEvent] = []
        for index, part in enumerate(items_of(item.get("summary"))):
            events += work.settle_thought(place, _summary(index), text_of(fields_of(part).get("text")))
        for index, part in enumerate(items_of(item.get("content"))):
            events += work.settle_thought(place, _thought(index), text_of(fields_of(part).get("text")))
        work.end_thoughts(place)
        return events

    def _close_hosted(self, place: int, item: dict[str, Any]) -> list[ThreadStreamEvent]:
        answer = self._answer
        events = answer.work.show_hosted(place, item, done=True)
        for picture in hosted_tools.pictures(item):
            events += answer.add_image(picture)
        if item.get("type") == "mcp_approval_request":
            events.append(NoticeEvent(level="warning", message=hosted_tools.approval_notice(item)))
        return events

    def _end(self, status: str, response: _Response) -> list[ThreadStreamEvent]:
        answer = self._answer
        answer.whole = answer.over = True
        if response.usage is not None:
            answer.count(response.usage.input_tokens, response.usage.output_tokens)
        if {status, response.status} & {"failed", "cancelled"} or response.error:
            raise failures.from_stream(response.error or f"response {status}")
        if "incomplete" in {status, response.status}:
            answer.cut_short = _cut_short(response)
        # Some servers send everything in the end only.
        heard = frozenset(answer.heard)
        events: list[ThreadStreamEvent] = []
        for index, item in enumerate(response.output or []):
            if _decode_kind(item).type not in heard:
                events += self._close_item(_ItemEvent(item=item, output_index=index))
        return events

    def _fail(self, event: dict[str, Any]) -> None:
        if event.get("type") == "error" or "error" in event:
            raise failures.from_stream(event)


def whole_text(body: bytes) -> str:
    """The text of a response that was not streamed.

    Raises:
        msgspec.DecodeError: The body is no such response.
    """
    response = _decode_response(body)
    return "".join(part.said() for raw in response.output or [] for part in _parts(raw))


class _Kind(Struct):
    type: str = ""


class _Delta(Struct):
    delta: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0


class _Done(Struct):
    text: str | None = None
    refusal: str | None = None
    code: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0


class _ItemEvent(Struct):
    item: Raw
    output_index: int = 0


class _CitationEvent(Struct):
    annotation: Any = None
    output_index: int = 0
    content_index: int = 0


class _ImageEvent(Struct):
    partial_image_b64: str | None = None
    partial_image_index: int = 0
    output_format: str | None = None
    output_index: int = 0


class _Part(Struct):
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None

    def said(self) -> str:
        return self.text or self.refusal or ""


class _Message(Struct):
    type: str = ""
    content: list[_Part] | None = None


class _Call(Struct):
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None

    def written(self) -> str:
        """The arguments as text, which are an object with some servers."""
        if self.arguments is None or isinstance(self.arguments, str):
            return self.arguments or ""
        return encode_json(self.arguments).decode()


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _IncompleteDetails(Struct):
    reason: str | None = None


class _Response(Struct):
    status: str | None = None
    output: list[Raw] | None = None
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _IncompleteDetails | None = None


class _EndEvent(Struct):
    response: _Response


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_delta = msgspec.json.Decoder(_Delta).decode
_decode_done = msgspec.json.Decoder(_Done).decode
_decode_item = msgspec.json.Decoder(_ItemEvent).decode
_decode_citation = msgspec.json.Decoder(_CitationEvent).decode
_decode_image = msgspec.json.Decoder(_ImageEvent).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_call = msgspec.json.Decoder(_Call).decode
_decode_end = msgspec.json.Decoder(_EndEvent).decode
_decode_response = msgspec.json.Decoder(_Response).decode


def _parts(item: Raw) -> list[_Part]:
    """The parts of a message; items of other kinds have none for the user."""
    if _decode_kind(item).type != "message":
        return []
    return _decode_message(item).content or []


def _summary(index: int) -> str:
    return f"summary {index}"


def _thought(index: int) -> str:
    return f"thought {index}"


def _partial_images(created: dict[str, Any]) -> int:
    """How many states of an image were asked for, as the provider repeats it with the tools."""
    tools = items_of(fields_of(created.get("response")).get("tools"))
    asked = (fields_of(tool).get("partial_images") for tool in tools)
    return next((count for count in asked if isinstance(count, int)), 0)


def _cut_short(response: _Response) -> CutShort:
    reason = response.incomplete_details.reason if response.incomplete_details else None
    if reason == "max_output_tokens":
        return "length"
    return "content_filter" if reason == "content_filter" else "other"
