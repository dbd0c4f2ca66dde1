"""The table of what the recordings say, with which our agent is judged, says what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recordings import ALL, Recording
from tests.recordings_extract import EXPECTED, extract

BY_EYE = {
    "chat-perplexity-crlf": "1 2 3",  # also as a cumulative message beside each delta
    "chat-opencode-chunk-after-done": "Hello",  # in the chunk with the finish_reason; one more follows [DONE]
    "chat-mistral-content-list-thinking": "144",  # "1" in a list of parts, "44" as a string
    "chat-snowflake-no-finish-reason": "4",
    "chat-openai-refusal": "I'm sorry, I can't assist with that request.",
    "chat-openrouter-stream-error": "",  # thoughts only, then the error
    "responses-openrouter-raw-reasoning": "4",
    "responses-openai-background-queued": "2 + 2 equals 4.",
    "responses-openai-image-generation-partial": "",
    "responses-openai-incomplete-max-tokens": (
        "In the bustling city of Detroit, a sleek, metallic blue sedan rolled off the"
    ),
}


@pytest.mark.parametrize("recording", ALL, ids=str)
def test_the_table_is_what_the_extraction_finds(recordings: Path, recording: Recording) -> None:
    """A changed recording, or a changed rule, shows."""
    assert extract(recording.path) == json.loads(EXPECTED.read_text())[recording.name]


@pytest.mark.parametrize(("name", "text"), BY_EYE.items())
def test_odd_streams_were_read_by_eye(name: str, text: str) -> None:
    """Those in which a rule could go wrong have their text here."""
    (expected,) = (recording.expected for recording in ALL if recording.name == name)
    assert expected.is_text(text)


def test_deltas_are_what_the_providers_say_in_the_end(recordings: Path) -> None:
    """In Responses the last event repeats the whole output: another witness, where there is one."""
    witnesses = 0
    for recording in ALL:
        ends = [line for line in recording.data.decode().splitlines() if '"response.completed"' in line]
        payloads = [line.removeprefix("data: ") for line in ends if line.startswith("data: ")]
        if recording.dialect == "responses" and payloads:
            output = json.loads(payloads[-1])["response"].get("output", [])
            parts = [part for item in output if item["type"] == "message" for part in item["content"]]
            if parts:
                assert recording.expected.is_text("".join(part["text"] for part in parts)), recording
                witnesses += 1
    assert witnesses >= 10
