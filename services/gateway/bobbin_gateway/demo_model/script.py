"""What a scripted model says and how it fails, read from the model's name."""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Position = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]
T = TypeVar("T")


class BadScript(Exception):
    """The model's name has an option that does not exist or a value without sense: the caller's fault."""


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call of a tool."""

    name: str
    arguments: str | dict[str, Any] = "{}"

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        return (
            self.arguments
            if isinstance(self.arguments, str)
            else msgspec.json.encode(self.arguments).decode()
        )


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `script:...`."""

    text: str | None = None
    """The answer, cut into deltas of `size`; without it, made of `deltas`, `size` and `seed`."""
    deltas: Count = 20
    """Number of deltas of a made-up text."""
    size: Annotated[int, Meta(ge=1)] = 4
    """Characters per delta."""
    seed: int = 0
    """Another seed, another made-up text."""
    parts: Annotated[int, Meta(ge=1)] = 1
    """Content parts over which the deltas are spread; Responses only."""
    refusal: bool = False
    """The text is a refusal."""
    calls: str | None = None
    """Calls of tools before the text, as JSON: `[{"name": ..., "arguments": {...}}, ...]` for one round of
    them, a list of such lists for several. An `arguments` that is text is sent as it is."""
    before: str = ""
    """What is said in the same response as the calls, before them."""
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    """Why the answer ends early: `response.incomplete`; finish_reason `length` or `content_filter`."""

    head_ms: Milliseconds = 0
    """Wait before the status line."""
    first_ms: Milliseconds = 0
    """Wait after the headers and opening events, before the first delta."""
    delay_ms: Milliseconds = 0
    """Wait between writes."""
    per_write: Count = 0
    """Deltas in one write; 0: one with a delay, all (and all other events) without."""

    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    """Answer with this status and an error object instead."""
    fail_first: Count = 0
    """Only the first so many requests with the same body get `status` (500 if not given)."""
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    """Seconds, in the header Retry-After of an error status."""
    code: str | None = None
    """The error's code, for `status` and `error_after`; by default one that fits."""
    not_sse: bool = False
    """Answer with status 200 and an HTML page."""
    empty: bool = False
    """Answer with status 200, the right content type, and no event at all."""
    garbage: Annotated[int, Meta(ge=1)] | None = None
    """This delta (counted from 1) is an event whose data is not JSON; the rest is as usual."""
    error_after: Position | None = None
    """After so many deltas comes an error object; then the stream ends."""
    error_shape: Literal["nested", "flat"] = "nested"
    """Of the Responses `error` event: within `error` as the API sends it, or flat as it is documented."""
    stall_after: Position | None = None
    """After so many deltas nothing more comes, and the connection stays open."""
    cut_after: Position | None = None
    """After so many deltas the connection is cut in mid-body. A background response goes on; each connection
    that reads it is cut after so many deltas of its own."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; msgspec makes a ValidationError of it."""
        if len(self._endings()) > 1:
            raise ValueError("a stream ends in one way: error_after, stall_after or cut_after")
        self.rounds()

    def pieces(self, said: str | None) -> list[str]:
        """The text of each delta; `said` (the rest of a `say:` message) when the script has no text."""
        text = self.text if self.text is not None else said
        if text is None:
            text = _made_up(self.deltas * self.size, self.seed)
        return self.cut(text)

    def rounds(self) -> list[list[ScriptedCall]]:
        """The calls of each round."""
        if self.calls is None:
            return []
        try:
            calls = msgspec.json.decode(self.calls, type=list[ScriptedCall | list[ScriptedCall]])
        except msgspec.MsgspecError as error:
            raise ValueError(f"calls: {error}") from error
        one = [call for call in calls if isinstance(call, ScriptedCall)]
        return [one] if one else [calls for calls in calls if isinstance(calls, list)]

    def cut(self, text: str) -> list[str]:
        """The text in deltas."""
        return [text[start : start + self.size] for start in range(0, len(text), self.size)]

    def has_fault(self) -> bool:
        """Whether a stream of this script does not reach its regular end."""
        return bool(self._endings())

    def _endings(self) -> list[int]:
        return [after for after in (self.error_after, self.stall_after, self.cut_after) if after is not None]


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `recording:...`."""

    chunk: Count = 0
    """Bytes per write; 0: one write."""
    delay_ms: Milliseconds = 0
    """Wait between writes."""


def parse_script(query: str) -> Script:
    """The script of a query string; raises BadScript."""
    return _parse(query, Script)


def parse_pace(query: str) -> Pace:
    """The pace of a recording; raises BadScript."""
    return _parse(query, Pace)


def _parse(query: str, kind: type[T]) -> T:
    options = dict(parse_qsl(query, keep_blank_values=True))
    try:
        return msgspec.convert(options, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadScript(f"Bad model name: {error}") from None


def _made_up(length: int, seed: int) -> str:
    words = random.Random(seed).choices(_WORDS, k=length // 3 + 1)  # noqa: S311 - to be repeatable, not secret
    return " ".join(words)[:length].ljust(length, ".")


_TEXT = (
    "thread bobbin spool needle weave cotton linen silk a the of and under over winds turns pays out slowly "
    "quickly naïve café façade žluťoučký 日本語 данные 🧵 🪡 **bold** `code` hem seam stitch loop knot"
)
_WORDS = _TEXT.split()
