"""Dictation with the built-in agent: through HTTP, the openai package, and a server that says what it got."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.client import Client
from tests.model import ModelServer
from tests.stack import Stack


def recording(data: bytes, mime_type: str = "audio/webm;codecs=opus") -> dict[str, Any]:
    return {"audio_base64": b64encode(data).decode(), "mime_type": mime_type}


async def test_what_is_said_is_written_down(client: Client) -> None:
    assert await client.call("input.transcribe", **recording("Grüße, Welt".encode())) == {
        "text": "Grüße, Welt"
    }


async def test_a_recording_reaches_the_service_as_it_is(client: Client, stack: Stack) -> None:
    text = (await client.call("input.transcribe", **recording(bytes(range(256)) * 4000, "audio/mp4")))["text"]
    assert text.startswith("1024000 bytes of audio/mp4, ")
    [received] = ModelServer(stack.model).received(text)
    assert (received["body"]["file_name"], received["body"]["model"]) == (
        "speech.mp4",
        "gpt-4o-mini-transcribe",
    )


@pytest.mark.parametrize(
    ("params", "status"),
    [
        (recording(b"x", "video/x-msvideo"), 422),
        (recording(b""), 400),
        ({"audio_base64": "no base64!", "mime_type": "audio/webm"}, 400),
    ],
)
async def test_what_is_no_recording_is_told(client: Client, params: dict[str, Any], status: int) -> None:
    answer = await client.post({"type": "input.transcribe", "params": params})
    assert answer.status_code == status
    assert answer.json()["message"]
