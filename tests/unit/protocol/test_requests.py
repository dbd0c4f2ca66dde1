"""Decoding requests: what passes, and what a caller is told when it does not."""

import base64
import json
from typing import Any

import pytest

from bobbin_protocol.items import InferenceOptions, UserMessageTextContent
from bobbin_protocol.requests import (
    InputTranscribeParams,
    InvalidRequest,
    ItemsListReq,
    ThreadsCreateReq,
    ThreadsListReq,
    decode_audio,
    decode_request,
    is_streaming,
)

THREAD = {"thread_id": "thr_1"}
INPUT = {"content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}}

STREAMING = {
    "threads.create": {"input": INPUT},
    "threads.add_user_message": {**THREAD, "input": INPUT},
    "threads.add_client_tool_output": {**THREAD, "result": {"ok": True}},
    "threads.add_structured_input": {**THREAD, "item_id": "msg_1", "input": {"answers": {}}},
    "threads.retry_after_item": {**THREAD, "item_id": "msg_1"},
    "threads.custom_action": {**THREAD, "action": {"type": "go"}},
}
NON_STREAMING = {
    "threads.get_by_id": THREAD,
    "threads.list": {},
    "items.list": THREAD,
    "items.feedback": {**THREAD, "item_ids": ["msg_1"], "kind": "positive"},
    "attachments.create": {"name": "a.png", "size": 1, "mime_type": "image/png"},
    "attachments.delete": {"attachment_id": "atc_1"},
    "threads.update": {**THREAD, "title": "New"},
    "threads.delete": THREAD,
    "input.transcribe": {"audio_base64": "AAAA", "mime_type": "audio/webm;codecs=opus"},
    "threads.sync_custom_action": {**THREAD, "action": {"type": "go"}},
}


def body(kind: str, params: Any, **more: Any) -> bytes:
    return json.dumps({"type": kind, "params": params, **more}).encode()


def refusal(request: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(request)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "params", "streams"),
    [(*one, True) for one in STREAMING.items()] + [(*one, False) for one in NON_STREAMING.items()],
)
def test_every_request_is_known_and_says_how_it_is_answered(kind: str, params: Any, *, streams: bool) -> None:
    request = decode_request(body(kind, params))
    assert type(request).__struct_config__.tag == kind
    assert is_streaming(request) is streams


def test_a_message_arrives_as_it_was_sent() -> None:
    request = decode_request(body("threads.create", {"input": INPUT}, metadata={"page": None}))
    assert isinstance(request, ThreadsCreateReq)
    assert request.metadata == {"page": None}
    assert request.params.input.content == [UserMessageTextContent(text="Hello")]


def test_a_message_needs_no_more_than_its_content() -> None:
    request = decode_request(body("threads.create", {"input": {"content": [], "quoted_text": None}}))
    assert isinstance(request, ThreadsCreateReq)
    assert request.params.input.attachments == []
    assert request.params.input.inference_options == InferenceOptions()


def test_fields_that_a_newer_client_sends_are_ignored() -> None:
    request = decode_request(body("threads.list", {"limit": 3, "new": {"x": 1}}, newer=[None]))
    assert isinstance(request, ThreadsListReq)
    assert request.params.limit == 3


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\u2028", "\U0001f600", "x" * 200_000, "\ufffe"])
def test_any_text_is_kept_as_it_is(text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    request = decode_request(body("threads.create", {"input": {**INPUT, "content": content}}))
    assert isinstance(request, ThreadsCreateReq)
    assert request.params.input.content == [UserMessageTextContent(text=text)]


@pytest.mark.parametrize("limit", [0, 1, 9999, 10**9, 10**30])
def test_a_limit_is_any_number_from_zero(limit: int) -> None:
    request = decode_request(body("items.list", {**THREAD, "limit": limit}))
    assert isinstance(request, ItemsListReq)
    assert request.params.limit == limit


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"   ", id="white space"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"type":"threads.list","params":{}} {}', id="two documents"),
        pytest.param(b"{'type':'threads.list'}", id="not quite JSON"),
        pytest.param(b"\xff\xfe", id="binary"),
        pytest.param(b'{"type":"threads.list","params":{},"metadata":{"a":"\xff"}}', id="invalid UTF-8"),
        pytest.param(
            b'{"type":"threads.list","params":{},"metadata":{"a":"\xed\xa0\x80"}}', id="CESU surrogate"
        ),
        pytest.param(b'{"type":"threads.list","params":{},"metadata":{"a":"\\ud800"}}', id="lone surrogate"),
        pytest.param(b'{"type":"threads.list","params":{},"metadata":{"a":"\\udc00x"}}', id="low surrogate"),
        pytest.param(b'{"type":"threads.list","params":{},"metadata":{"a":NaN}}', id="NaN"),
        pytest.param(b'{"type":"threads.list","metadata":' + b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"type":"threads.list","new":' + b"[" * 100_000, id="deep arrays in an unknown field"),
        pytest.param(b"[" * 100_000, id="deep arrays"),
        pytest.param('{"type":"threads.list"}'.encode("utf-16"), id="UTF-16"),
    ],
)
def test_what_is_no_json_is_named_so(request_body: bytes) -> None:
    error = refusal(request_body)
    assert error.field is None
    assert "JSON" in error.message or "nested too deeply" in error.message or "Expected" in error.message


@pytest.mark.parametrize(
    ("request_body", "field", "message"),
    [
        (b"[]", None, "Expected `object`, got `array`"),
        (b"null", None, "Expected `object`, got `null`"),
        (b"{}", "type", "Object missing required field `type`"),
        (b'{"type":7}', "type", "Expected `str`"),
        (b'{"type":null}', "type", "Expected `str`"),
        (b'{"type":"threads.explode","params":{}}', "type", "Invalid value 'threads.explode'"),
        (b'{"type":"threads.list"}', "params", "Object missing required field `params`"),
        (b'{"type":"threads.list","params":null}', "params", "Expected `object`, got `null`"),
        (b'{"type":"threads.list","params":{},"metadata":[]}', "metadata", "Expected `object`, got `array`"),
        (body("threads.create", {}), "params.input", "Object missing required field `input`"),
        (body("threads.create", {"input": {}}), "params.input.content",
         "Object missing required field `content`"),
        (body("threads.create", {"input": {**INPUT, "content": "Hi"}}), "params.input.content",
         "Expected `array`, got `str`"),
        (body("threads.create", {"input": {**INPUT, "content": [{"type": "input_text"}]}}),
         "params.input.content[0].text", "Object missing required field `text`"),
        (body("threads.create", {"input": {**INPUT, "content": [{"type": "input_video"}]}}),
         "params.input.content[0].type", "Invalid value 'input_video'"),
        (body("threads.create", {"input": {**INPUT, "attachments": ["a b"]}}),
         "params.input.attachments[0]", "Expected `str` matching regex"),
        (body("threads.get_by_id", {}), "params.thread_id", "Object missing required field `thread_id`"),
        (body("threads.get_by_id", {"thread_id": 7}), "params.thread_id", "Expected `str`, got `int`"),
        (body("threads.list", {"order": "up"}), "params.order", "Invalid enum value 'up'"),
        (body("threads.list", {"limit": -1}), "params.limit", "Expected `int` >= 0"),
        (body("threads.list", {"limit": "7"}), "params.limit", "Expected `int | null`, got `str`"),
        (body("threads.list", {"limit": 1.5}), "params.limit", "Expected `int | null`, got `float`"),
        (body("threads.list", {"after": "x" * 129}), "params.after", "Expected `str` of length <= 128"),
        (body("threads.update", {**THREAD, "title": "x" * 501}), "params.title",
         "Expected `str` of length <= 500"),
        (body("threads.update", {**THREAD, "title": "a\0"}), "params.title", "Expected `str` matching regex"),
        (body("threads.update", {**THREAD, "title": None}), "params.title", "Expected `str`, got `null`"),
        (body("items.feedback", {**THREAD, "item_ids": ["m"], "kind": "meh"}), "params.kind",
         "Invalid enum value 'meh'"),
        (body("attachments.create", {"name": "", "size": 1, "mime_type": "a/b"}), "params.name",
         "Expected `str` of length >= 1"),
        (body("attachments.create", {"name": "a\0", "size": 1, "mime_type": "a/b"}), "params.name",
         "Expected `str` matching regex"),
        (body("attachments.create", {"name": "a", "size": -1, "mime_type": "a/b"}), "params.size",
         "Expected `int` >= 0"),
        (body("attachments.create", {"name": "a", "size": 1, "mime_type": "a/b\r\nX: y"}), "params.mime_type",
         "Expected `str` matching regex"),
        (body("threads.custom_action", {**THREAD, "action": {}}), "params.action.type",
         "Object missing required field `type`"),
        (body("threads.add_structured_input", {**THREAD, "item_id": "m", "input": {"answers": {"q": []}}}),
         "params.input.answers[...]", "Expected `object`, got `array`"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(request_body: bytes, field: str | None, message: str) -> None:
    error = refusal(request_body)
    assert error.field == field
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "\0",
        "a\0",
        "a\n",
        "a\r\n",
        " a",
        "é",
        "\U0001f600",
        "a/b",
        "../x",
        "'; drop table",
        "%00",
        "x" * 129,
    ],
)
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("threads.get_by_id", "thread_id"),
        ("threads.list", "after"),
        ("items.list", "after"),
        ("threads.retry_after_item", "item_id"),
        ("threads.custom_action", "item_id"),
        ("attachments.delete", "attachment_id"),
    ],
)
def test_no_strange_id_gets_through(kind: str, field: str, hostile: str) -> None:
    params = (STREAMING | NON_STREAMING)[kind]
    assert refusal(body(kind, {**params, field: hostile})).field == f"params.{field}"


@pytest.mark.parametrize(
    "known", ["thr_0199c0de00007000800000000000cafe", "cthr_68e", "a", "A-b.c:d_9", "x" * 128]
)
def test_ids_of_other_makers_pass(known: str) -> None:
    decode_request(body("threads.get_by_id", {"thread_id": known}))


def test_speech_arrives_as_bytes_with_its_type() -> None:
    request = decode_request(
        body(
            "input.transcribe", {"audio_base64": base64.b64encode(b"\0\xff").decode(), "mime_type": "a/b;c=d"}
        )
    )
    audio = decode_audio(request.params)  # type: ignore[arg-type]  # it is an input.transcribe
    assert (audio.data, audio.mime_type, audio.media_type) == (b"\0\xff", "a/b;c=d", "a/b")


@pytest.mark.parametrize("broken", ["A", "A===", "AA=A", "é", "AA AA", "\0"])
def test_speech_that_is_no_base64_is_refused(broken: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_audio(InputTranscribeParams(audio_base64=broken, mime_type="a/b"))
    assert caught.value.field == "params.audio_base64"
