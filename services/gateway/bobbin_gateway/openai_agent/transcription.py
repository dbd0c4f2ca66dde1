"""Speech to text, by the transcription API that OpenAI and many others have."""

from __future__ import annotations

from typing import Final

import msgspec
import openai
from msgspec import Struct

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.spans import asking
from bobbin_protocol.requests import AudioInput

OFF: Final = "off"

_MOST_BYTES: Final = 25 * 1024 * 1024
"""What OpenAI takes: https://platform.openai.com/docs/guides/speech-to-text"""
_TIMEOUT_S: Final = 60.0
_EXTENSIONS: Final = {
    "audio/webm": "webm",
    "video/webm": "webm",
    "audio/ogg": "ogg",
    "application/ogg": "ogg",
    "audio/mp4": "mp4",
    "video/mp4": "mp4",
    "audio/x-m4a": "m4a",
    "audio/m4a": "m4a",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
}
"""The service tells formats by the file's name."""


class _Transcription(Struct):
    text: str


async def transcribe(client: openai.AsyncOpenAI, model: str, audio: AudioInput) -> str:
    """What is said in a recording.

    Args:
        client: For the service that has the model.
        model: Empty, or `off`: there is none.
        audio: The recording, in any format that browsers record in.

    Raises:
        AgentError: It cannot be transcribed, or the service failed.
    """
    media_type = audio.media_type.strip().lower()
    extension = _EXTENSIONS.get(media_type)
    if model in {"", OFF}:
        raise AgentError("Dictation is not available here.", allow_retry=False)
    if extension is None:
        raise AgentError("This kind of recording can't be transcribed.", allow_retry=False, detail=media_type)
    if not audio.data:
        raise AgentError("Nothing was recorded. Please try again.", allow_retry=True)
    if len(audio.data) > _MOST_BYTES:
        raise AgentError("The recording is too long. Please try a shorter one.", allow_retry=False)
    try:
        with asking(client, model, "transcription") as span, span.active():
            response = await client.audio.transcriptions.with_raw_response.create(
                model=model,
                file=(f"speech.{extension}", audio.data, media_type),
                response_format="json",
                timeout=_TIMEOUT_S,
            )
        return _decode(response.content).text.strip()
    except failures.TRANSPORT_ERRORS as error:
        raise failures.from_exception(error) from error
    except msgspec.MsgspecError as error:
        raise failures.unreadable(f"bad transcription: {error}") from error


_decode = msgspec.json.Decoder(_Transcription).decode
