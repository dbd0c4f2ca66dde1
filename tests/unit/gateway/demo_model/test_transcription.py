"""What the model server makes of a recording, asked by the real client."""

from __future__ import annotations

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.model import ModelServer


async def test_a_text_is_heard_as_that_text(openai: AsyncOpenAI) -> None:
    heard = await openai.audio.transcriptions.create(model="any", file=("a.webm", b"Good day"))
    assert heard.text == "Good day"


async def test_any_other_recording_is_told_by_what_it_is(openai: AsyncOpenAI) -> None:
    texts = {
        (await openai.audio.transcriptions.create(model="any", file=("a.wav", data, "audio/wav"))).text
        for data in [b"\x00\xff", b"\x00\xff", b"\x00\xfe"]
    }
    assert len(texts) == 2
    assert all(text.startswith("2 bytes of audio/wav, ") for text in texts)


async def test_it_fails_as_the_model_says(openai: AsyncOpenAI) -> None:
    for model, status in [("script:status=503", 503), ("script:nonsense=1", 400)]:
        with pytest.raises(openai_error(status)):
            await openai.audio.transcriptions.create(model=model, file=("a.wav", b"x"))


def openai_error(status: int) -> type[openai.APIStatusError]:
    return openai.InternalServerError if status >= 500 else openai.BadRequestError


@pytest.mark.parametrize(
    "body", [b"", b"no form", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--x--\r\n']
)
async def test_what_is_no_form_with_a_recording_is_refused(model_server: ModelServer, body: bytes) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{model_server.base_url}/audio/transcriptions",
            content=body,
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 400
