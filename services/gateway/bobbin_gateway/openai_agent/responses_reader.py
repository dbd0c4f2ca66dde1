"""Streams of the Responses dialect (platform.openai.com/docs/api-reference/responses-streaming).

Kinds of events and items that are not named here are passed over: every provider has some of its own.
"""

from __future__ import annotations

from typing import Any

from bobbin_gateway.openai_agent import failures, hosted_tools
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.openai_agent.calls import arguments_text
from bobbin_gateway.openai_agent.citations import annotation_of, fields_of, items_of, text_of
from bobbin_gateway.openai_agent.images import image_url
from bobbin_gateway.openai_agent.responses_events import (
    ItemEvent,
    Response,
    decode_call,
    decode_citation,
    decode_delta,
    decode_done,
    decode_end,
    decode_image,
    decode_item,
    decode_kind,
    decode_object,
    decode_response,
    parts_of,
)
from bobbin_protocol.events import NoticeEvent, ThreadStreamEvent


class ResponsesReader:
    """Reads one streamed response."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        kind = decode_kind(data).type
        if kind == "response.output_text.delta":
            text = decode_delta(data)
            return self._answer.say(text.output_index, text.content_index, text.delta or "")
        if kind.endswith(".delta"):
            return self._read_delta(kind, data)
        match kind:
            case "response.output_item.added":
                return self._begin_item(decode_item(data))
            case "response.output_item.done":
                return self._close_item(decode_item(data))
            case "response.output_text.annotation.added":
                cited = decode_citation(data)
                annotation = annotation_of(cited.annotation)
                return self._answer.annotate(cited.output_index, cited.content_index, annotation)
            case "response.image_generation_call.partial_image":
                image = decode_image(data)
                url = image_url(image.partial_image_b64, image.output_format)
                return self._answer.show_image(image.output_index, url, image.partial_image_index)
            case "response.created":
                self._answer.images.partial_images = _partial_images(decode_object(data))
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                return self._end(kind.removeprefix("response."), decode_end(data).response)
            case "error" | "":
                self._fail(decode_object(data))
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
                delta = decode_delta(data)
                return answer.work.think(delta.output_index, _summary(delta.summary_index), delta.delta or "")
            case "response.reasoning_text.delta":
                delta = decode_delta(data)
                return answer.work.think(delta.output_index, _thought(delta.content_index), delta.delta or "")
            case "response.function_call_arguments.delta":
                delta = decode_delta(data)
                return answer.work.call(delta.output_index, arguments=delta.delta or "")
            case "response.code_interpreter_call_code.delta":
                delta = decode_delta(data)
                return answer.work.write_code(delta.output_index, delta.delta or "")
            case "response.refusal.delta":
                delta = decode_delta(data)
                return answer.say(delta.output_index, delta.content_index, delta.delta or "")
            case _:
                return []

    def _read_done(self, kind: str, data: bytes) -> list[ThreadStreamEvent]:
        """What came token by token, as a whole."""
        answer = self._answer
        match kind:
            case "response.output_text.done" | "response.refusal.done":
                done = decode_done(data)
                text = done.text or done.refusal or ""
                return answer.settle(done.output_index, done.content_index, text)
            case "response.reasoning_summary_text.done":
                done = decode_done(data)
                part = _summary(done.summary_index)
                return answer.work.settle_thought(done.output_index, part, done.text or "")
            case "response.reasoning_text.done":
                done = decode_done(data)
                part = _thought(done.content_index)
                return answer.work.settle_thought(done.output_index, part, done.text or "")
            case "response.code_interpreter_call_code.done":
                done = decode_done(data)
                return answer.work.run_code(done.output_index, done.code or "")
            case _:
                return []

    def _note_kind(self, kind: str) -> None:
        if kind == "message":  # which may turn out to be empty
            return
        self._answer.heard.add(kind)
        self._answer.acted = self._answer.acted or kind != "reasoning"

    def _begin_item(self, begun: ItemEvent) -> list[ThreadStreamEvent]:
        answer, place, kind = self._answer, begun.output_index, decode_kind(begun.item).type
        self._note_kind(kind)
        match kind:
            case "message":
                return []
            case "reasoning":
                return answer.work.think(place)
            case "function_call":
                call = decode_call(begun.item)
                return answer.work.call(place, call_id=call.call_id or "", name=call.name or "")
            case "image_generation_call":
                return answer.begin_image(place)
            case _:
                return answer.work.show_hosted(place, decode_object(begun.item), done=False)

    def _close_item(self, done: ItemEvent) -> list[ThreadStreamEvent]:
        answer, place, kind = self._answer, done.output_index, decode_kind(done.item).type
        self._note_kind(kind)
        match kind:
            case "message":
                return self._close_message(done)
            case "reasoning":
                return self._close_thoughts(done)
            case "function_call":
                call = decode_call(done.item)
                return answer.work.settle_call(
                    place,
                    call_id=call.call_id or "",
                    name=call.name or "",
                    arguments=arguments_text(call.arguments),
                )
            case "image_generation_call":
                image = decode_object(done.item)
                return answer.end_image(place, image_url(image.get("result"), image.get("output_format")))
            case _:
                return self._close_hosted(place, decode_object(done.item))

    def _close_message(self, done: ItemEvent) -> list[ThreadStreamEvent]:
        answer, place = self._answer, done.output_index
        events: list[ThreadStreamEvent] = []
        parts = parts_of(done.item)
        if not answer.is_open(place):
            # Some servers send the whole text in the end only.
            for index, part in enumerate(parts):
                events += answer.say(place, index, part.said())
        for index, part in enumerate(parts):
            for citation in part.annotations or []:
                events += answer.annotate(place, index, annotation_of(citation))
        return events + answer.close(place)

    def _close_thoughts(self, done: ItemEvent) -> list[ThreadStreamEvent]:
        """Nothing more is thought there; some servers send their thoughts in the end only."""
        work, place, item = self._answer.work, done.output_index, decode_object(done.item)
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

    def _end(self, status: str, response: Response) -> list[ThreadStreamEvent]:
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
            if decode_kind(item).type not in heard:
                events += self._close_item(ItemEvent(item=item, output_index=index))
        return events

    def _fail(self, event: dict[str, Any]) -> None:
        if event.get("type") == "error" or "error" in event:
            raise failures.from_stream(event)


def whole_text(body: bytes) -> str:
    """The text of a response that was not streamed.

    Raises:
        msgspec.DecodeError: The body is no such response.
    """
    response = decode_response(body)
    return "".join(part.said() for raw in response.output or [] for part in parts_of(raw))


def _summary(index: int) -> str:
    return f"summary {index}"


def _thought(index: int) -> str:
    return f"thought {index}"


def _partial_images(created: dict[str, Any]) -> int:
    """How many states of an image were asked for, as the provider repeats it with the tools."""
    tools = items_of(fields_of(created.get("response")).get("tools"))
    asked = (fields_of(tool).get("partial_images") for tool in tools)
    return next((count for count in asked if isinstance(count, int)), 0)


def _cut_short(response: Response) -> CutShort:
    reason = response.incomplete_details.reason if response.incomplete_details else None
    if reason == "max_output_tokens":
        return "length"
    return "content_filter" if reason == "content_filter" else "other"
