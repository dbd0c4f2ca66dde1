"""The one file in a `multipart/form-data` body (RFC 7578), as it comes in; nothing is kept."""
# pyright: reportAttributeAccessIssue=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# Where python-multipart is installed, too, its package of the same name hands over to the module that is
# meant here, which a type checker does not follow.

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from bobbin_protocol.requests import InvalidRequest

_FIELD: Final = "file"
_MOST_PARTS: Final = 32
_MOST_BEFORE: Final = 65_536
"""Bytes of other fields before the file."""


class FilePart(Struct, frozen=True):
    """A file in a form."""

    name: str
    mime_type: str
    """As the sender says; may be empty."""
    chunks: AsyncIterator[bytes]
    """Raises InvalidRequest if the form breaks off before the file's end."""


async def file_part(content_type: str, body: AsyncIterator[bytes]) -> FilePart:
    """The form's field `file`.

    Raises:
        InvalidRequest: There is none, or this is no form.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise InvalidRequest("A form needs a boundary", "Content-Type")
    events = _events(boundary, body)
    before = 0
    async for event in events:
        match event:
            case MultipartSegment(name=name, filename=str(filename)) if name == _FIELD:
                return FilePart(filename, event.content_type or "", _rest(events))
            case bytes():
                before += len(event)
                if before > _MOST_BEFORE:
                    break
            case _:
                continue
    raise InvalidRequest("The form has no file", _FIELD)


async def _rest(events: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for event in events:
        if not isinstance(event, bytes):
            return
        yield event


async def _events(boundary: str, body: AsyncIterator[bytes]) -> AsyncGenerator[object]:
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS) as parser:
            async for chunk in body:
                for event in parser.parse(chunk):
                    yield event
    except MultipartError as error:
        raise InvalidRequest(f"Malformed form: {error}", "body") from error
