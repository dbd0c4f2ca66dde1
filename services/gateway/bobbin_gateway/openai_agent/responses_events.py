"""What the events of the Responses dialect hold, as far as it is of use here.

Fields that a provider leaves out, or sends as null, have a value that does no harm.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct


class Kind(Struct):
    type: str = ""


class Delta(Struct):
    delta: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0


class Done(Struct):
    text: str | None = None
    refusal: str | None = None
    code: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0


class ItemEvent(Struct):
    item: Raw
    output_index: int = 0


class CitationEvent(Struct):
    annotation: Any = None
    output_index: int = 0
    content_index: int = 0


class ImageEvent(Struct):
    partial_image_b64: str | None = None
    partial_image_index: int = 0
    output_format: str | None = None
    output_index: int = 0


class Part(Struct):
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None

    def said(self) -> str:
        return self.text or self.refusal or ""


class Message(Struct):
    type: str = ""
    content: list[Part] | None = None


class Call(Struct):
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None


class Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class IncompleteDetails(Struct):
    reason: str | None = None


class Response(Struct):
    status: str | None = None
    output: list[Raw] | None = None
    usage: Usage | None = None
    error: Any = None
    incomplete_details: IncompleteDetails | None = None


class EndEvent(Struct):
    response: Response


decode_kind = msgspec.json.Decoder(Kind).decode
decode_object = msgspec.json.Decoder(dict[str, Any]).decode
decode_delta = msgspec.json.Decoder(Delta).decode
decode_done = msgspec.json.Decoder(Done).decode
decode_item = msgspec.json.Decoder(ItemEvent).decode
decode_citation = msgspec.json.Decoder(CitationEvent).decode
decode_image = msgspec.json.Decoder(ImageEvent).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_call = msgspec.json.Decoder(Call).decode
decode_end = msgspec.json.Decoder(EndEvent).decode
decode_response = msgspec.json.Decoder(Response).decode


def parts_of(item: Raw) -> list[Part]:
    """The parts of a message; items of other kinds have none for the user."""
    if decode_kind(item).type != "message":
        return []
    return decode_message(item).content or []
