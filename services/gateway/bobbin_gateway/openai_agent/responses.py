"""The Responses dialect (platform.openai.com/docs/api-reference/responses-streaming).

Kinds of events that are not named here are passed over: every provider has some of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer, CutShort
from bobbin_gateway.openai_agent.prompt import Prompt, responses_input, responses_tools
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.wire import encode_json

_TITLE_TOKENS = 1024
"""Room for the thoughts of a reasoning model, too."""


class Responses:
    """Requests to ``/responses``, and what comes back.

    Nothing is kept at the provider (``store: false``): the thread store is the only memory, and each request
    carries its history. But a response in the background has to be kept until it has been read. ``store`` is
    left out there: it is true by default, as some servers demand, while OpenAI then keeps the response for
    about ten minutes only (developers.openai.com/api/docs/guides/background).
    """

    path = "/responses"

    def __init__(self, *, in_background: bool = False) -> None:
        self.in_background = in_background
        self._keeping = {"background": True} if in_background else {"store": False}

    def request(self, prompt: Prompt) -> bytes:
        return encode_json(
            {
                "model": prompt.model,
                "input": responses_input(prompt),
                "stream": True,
                **self._keeping,
                **({"instructions": prompt.instructions} if prompt.instructions else {}),
                **({"previous_response_id": prompt.goes_on_from} if prompt.goes_on_from else {}),
                **responses_tools(prompt),
            }
        )

    def short_request(self, *, model: str, instructions: str, text: str) -> bytes:
        """A request for a short text, not streamed."""
        return encode_json(
            {
                "model": model,
                "input": text,
                "instructions": instructions,
                "max_output_tokens": _TITLE_TOKENS,
                "store": False,
            }
        )

    def short_text(self, body: bytes) -> str:
        """The text of a response that was not streamed.

        Raises:
            msgspec.DecodeError: The body is no such response.
        """
        response = _decode_response(body)
        return "".join(part.said() for raw in response.output or [] for part in _parts(raw))

    def reader(self, answer: Answer) -> ResponsesReader:
        return ResponsesReader(answer)

    def adapt(self, refusal: str) -> bool:
        """Leave out of later requests what a provider refused; whether that was possible."""
        del refusal
        return False


class ResponsesReader:
    """Reads one streamed response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def read(self, data: bytes) -> list[ThreadStreamEvent]:
        kind = _decode_kind(data).type
        if kind == "response.output_text.delta":
            text = _decode_delta(data)
            return self._answer.say(text.output_index, text.content_index, text.delta or "")
        match kind:
            case "response.refusal.delta":
                text = _decode_delta(data)
                return self._answer.say(text.output_index, text.content_index, text.delta or "")
            case "response.output_text.done" | "response.refusal.done":
                done = _decode_done(data)
                return self._answer.settle(
                    done.output_index, done.content_index, done.text or done.refusal or ""
                )
            case "response.output_item.added":
                self._note_kind(_decode_item(data).item)
            case "response.output_item.done":
                return self._close_item(_decode_item(data))
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                return self._end(kind.removeprefix("response."), _decode_end(data).response)
            case "error" | "":
                self._fail(_decode_object(data))
            case _:
                pass
        return []

    def _note_kind(self, item: Raw) -> None:
        if _decode_kind(item).type not in {"message", "reasoning"}:
            self._answer.acted = True

    def _close_item(self, done: _ItemEvent) -> list[ThreadStreamEvent]:
        self._note_kind(done.item)
        events: list[ThreadStreamEvent] = []
        if not self._answer.is_open(done.output_index):
            # Some servers send the whole text in the end only.
            for index, part in enumerate(_parts(done.item)):
                events += self._answer.say(done.output_index, index, part.said())
        return events + self._answer.close(done.output_index)

    def _end(self, status: str, response: _Response) -> list[ThreadStreamEvent]:
        answer = self._answer
        answer.whole = answer.over = True
        if response.usage is not None:
            answer.usage = Usage(
                input_tokens=response.usage.input_tokens or 0, output_tokens=response.usage.output_tokens or 0
            )
        if {status, response.status} & {"failed", "cancelled"} or response.error:
            raise failures.from_stream(response.error or f"response {status}")
        if "incomplete" in {status, response.status}:
            answer.cut_short = _cut_short(response)
        if answer.said_something:
            return []
        items = enumerate(response.output or [])
        return [
            event
            for index, raw in items
            for event in self._close_item(_ItemEvent(item=raw, output_index=index))
        ]

    def _fail(self, event: dict[str, Any]) -> None:
        if event.get("type") == "error" or "error" in event:
            raise failures.from_stream(event)


class _Kind(Struct):
    type: str = ""


class _Delta(Struct):
    delta: str | None = None
    output_index: int = 0
    content_index: int = 0


class _Done(Struct):
    text: str | None = None
    refusal: str | None = None
    output_index: int = 0
    content_index: int = 0


class _ItemEvent(Struct):
    item: Raw
    output_index: int = 0


class _Part(Struct):
    text: str | None = None
    refusal: str | None = None

    def said(self) -> str:
        return self.text or self.refusal or ""


class _Message(Struct):
    type: str = ""
    content: list[_Part] | None = None


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
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_end = msgspec.json.Decoder(_EndEvent).decode
_decode_response = msgspec.json.Decoder(_Response).decode


def _parts(item: Raw) -> list[_Part]:
    """The parts of a message; items of other kinds have none for the user."""
    if _decode_kind(item).type != "message":
        return []
    return _decode_message(item).content or []


def _cut_short(response: _Response) -> CutShort:
    reason = response.incomplete_details.reason if response.incomplete_details else None
    if reason == "max_output_tokens":
        return "length"
    return "content_filter" if reason == "content_filter" else "other"
