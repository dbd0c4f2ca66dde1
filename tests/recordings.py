"""The recorded provider streams (../shared/recordings, see its INDEX.md) and what each of them says."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from tests.conftest import RECORDINGS

_EXPECTED = Path(__file__).with_name("recordings_expected.json")


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client should understand of a recording; made by tests/recordings_extract.py, checked by eye."""

    length: int
    """Characters of all text and refusals."""
    sha256: str
    """Of the same, in UTF-8."""
    starts: str
    """Its first 60 characters."""
    refusal: bool
    messages: int
    """Messages of the assistant, empty ones included (image generation ends with one)."""
    end: Literal["completed", "incomplete", "error"]
    function_calls: int
    reasoning: Literal["none", "hidden", "text"]
    """Hidden: there is reasoning, but none that can be read."""
    input_tokens: int | None
    output_tokens: int | None

    def is_text(self, text: str) -> bool:
        """Whether this is exactly the text that the provider sent."""
        return len(text) == self.length and hashlib.sha256(text.encode()).hexdigest() == self.sha256


class Recording(msgspec.Struct, frozen=True, dict=True):
    """One recorded stream."""

    name: str
    """The file's name without its ending; `recording:<name>` is the model that replays it."""
    expected: Expected

    @property
    def dialect(self) -> Literal["responses", "chat"]:
        return "responses" if self.name.startswith("responses-") else "chat"

    @property
    def path(self) -> Path:
        return RECORDINGS / f"{self.name}.sse"

    @cached_property
    def data(self) -> bytes:
        """The body of the response, as the provider sent it."""
        return self.path.read_bytes()

    def __str__(self) -> str:
        return self.name


_table = msgspec.json.decode(_EXPECTED.read_bytes(), type=dict[str, Expected])
ALL = [Recording(name, expected) for name, expected in _table.items()]
"""Every recording, to parametrise tests with; whether the files are there, the `recordings` fixture says."""
