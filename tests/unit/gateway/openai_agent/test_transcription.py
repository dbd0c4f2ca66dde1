"""Dictation, through the real client and a real server that says what it got."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent.client import ModelClient, open_client
from bobbin_gateway.openai_agent.transcription import transcribe
from bobbin_protocol.requests import AudioInput
from tests.model import ModelServer

MODEL = "gpt-4o-mini-transcribe"


@pytest.fixture
async def client(model_server: ModelServer) -> AsyncIterator[ModelClient]:
    async with open_client(api_key="sk-test", base_url=model_server.base_url, read_timeout_s=5) as one:
        yield one


def recording(data: bytes, mime_type: str = "audio/webm;codecs=opus") -> AudioInput:
    return AudioInput(data=data, mime_type=mime_type)


async def test_what_is_said_is_written_down(client: ModelClient) -> None:
    assert await transcribe(client, MODEL, recording("  Grüße, Welt ".encode())) == "Grüße, Welt"


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [
        ("audio/webm;codecs=opus", "speech.webm"),
        ("audio/ogg; codecs=opus", "speech.ogg"),
        ("audio/mp4", "speech.mp4"),
        ("audio/wav", "speech.wav"),
        ("audio/mpeg", "speech.mp3"),
        ("Audio/WebM", "speech.webm"),
    ],
)
async def test_the_service_learns_the_format_by_the_name(
    client: ModelClient, model_server: ModelServer, mime_type: str, name: str
) -> None:
    data = b"\x00" + mime_type.encode()
    text = await transcribe(client, MODEL, recording(data, mime_type))
    media_type = mime_type.partition(";")[0].lower()
    assert text.startswith(f"{len(data)} bytes of {media_type}, ")
    [received] = model_server.received(text)
    assert received["path"] == "/v1/audio/transcriptions"
    assert received["body"]["file_name"] == name
    assert received["body"]["model"] == MODEL
    assert received["body"]["response_format"] == "json"


@pytest.mark.parametrize(
    ("audio", "model", "said"),
    [
        (recording(b""), MODEL, "Nothing was recorded"),
        (recording(b"x", "video/x-msvideo"), MODEL, "can't be transcribed"),
        (recording(b"x", ""), MODEL, "can't be transcribed"),
        (recording(b"x" * (26 << 20)), MODEL, "too long"),
        (recording(b"x"), "off", "not available"),
        (recording(b"x"), "", "not available"),
        (recording(b"x"), "script:status=401", "refuses this server's key"),
        (recording(b"x"), "script:status=404", "not available"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_cannot_be_transcribed_is_told(
    client: ModelClient, audio: AudioInput, model: str, said: str
) -> None:
    with pytest.raises(AgentError, match=said):
        await transcribe(client, model, audio)


async def test_a_service_that_answers_nonsense_is_told(client: ModelClient) -> None:
    with pytest.raises(AgentError, match="can't be read"):
        await transcribe(client, "script:not_sse=1", recording(b"x"))
