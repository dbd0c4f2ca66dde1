"""`POST /v1/audio/transcriptions`: the server hears nothing, but says what it got.

A recording that is plain text is "heard" as that text, any other is told by its size, its type and the
beginning of its SHA-256. The model `script:status=...` fails, and
`script:not_sse=1` answers with a web page.
"""
# pyright: reportAttributeAccessIssue=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (as in bobbin_gateway.files.multipart)

from __future__ import annotations

from hashlib import sha256

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from bobbin_gateway.demo_model import reply
from bobbin_gateway.demo_model.reply import Reply
from bobbin_gateway.demo_model.script import BadScript, parse_script


class Form(msgspec.Struct, kw_only=True):
    """What came: fields, and what is to be known of the recording."""

    model: str = ""
    response_format: str = "json"
    file_name: str = ""
    file_type: str = ""
    file_bytes: int = 0
    text: str = ""
    """What is heard in it."""


class BadForm(Exception):
    """The body is no form with a recording."""


def read_form(body: bytes, content_type: str) -> Form:
    """Read the body of a request.

    Raises:
        BadForm: It is none.
    """
    fields: dict[str, bytes] = {}
    segment = None
    file = None
    try:
        with PushMultipartParser(parse_options_header(content_type)[1].get("boundary", "")) as parser:
            for event in parser.parse(body):
                match event:
                    case MultipartSegment(name=str(name)):
                        segment, fields[name] = event, b""
                        file = event if name == "file" else file
                    case bytes() if segment is not None:
                        fields[segment.name] += event
                    case _:
                        segment = None
    except MultipartError as error:
        raise BadForm(str(error)) from error
    if file is None:
        raise BadForm("no file")
    recording = fields["file"]
    return Form(
        model=fields.get("model", b"").decode(errors="replace"),
        response_format=fields.get("response_format", b"json").decode(errors="replace"),
        file_name=file.filename or "",
        file_type=file.content_type or "",
        file_bytes=len(recording),
        text=_heard(recording, file.content_type or "something"),
    )


def _heard(recording: bytes, media_type: str) -> str:
    try:
        text = recording.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text.strip():
        return text
    return f"{len(recording)} bytes of {media_type}, {sha256(recording).hexdigest()[:12]}"


def transcribed(form: Form) -> Reply:
    """The reply to a request."""
    kind, _, query = form.model.partition(":")
    if kind == "script":
        try:
            script = parse_script(query)
        except BadScript as error:
            return reply.error(400, str(error))
        if script.status:
            return reply.error(
                script.status, f"Scripted status {script.status}.", script.code, script.retry_after
            )
        if script.not_sse:
            return Reply(
                content_type=reply.HTML, writes=[(0, b"<!doctype html><title>Gateway login</title>")]
            )
    return Reply(writes=[(0, msgspec.json.encode({"text": form.text}))])
