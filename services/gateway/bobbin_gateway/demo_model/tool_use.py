"""How the demo model uses tools: it calls the one whose name is in the message, and tells what came out.

It knows no tool in particular. `create_task` is called for "Please create a task: buy milk", `list_tasks` for
"list my tasks", and anything for `call NAME {"its": "arguments"}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bobbin_gateway.demo_model.prompt import Request, Tool
from bobbin_gateway.demo_model.script import ScriptedCall

_EXACT = re.compile(r"\s*call\s+(?P<name>[\w-]+)\s*(?P<arguments>\{.*)?\s*\Z", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NUMBER = re.compile(r"(?<![\w.,-])-?\d{1,15}(?![\w]|[.,]\d)")
_LEAD = re.compile(r"\A[\s:,;.!?\u2013-]*(?:(?:to|as|called|named)\b[\s:]*)?", re.IGNORECASE)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019 \t\r\n"


class _Match(msgspec.Struct, frozen=True):
    """A tool whose name is in the message."""

    tool: Tool
    words: int
    """How many words its name has."""
    spans: list[tuple[int, int]]
    """Where they stand."""

    @property
    def end(self) -> int:
        return max((end for _, end in self.spans), default=0)


def demo_call(request: Request) -> ScriptedCall | None:
    """The call that the last message asks for; None if it asks for none, or has been answered by a tool."""
    tools = request.offered
    if not tools or not request.questions or request.results:
        return None
    message = request.questions[-1]
    exact = _EXACT.match(message)
    if exact and any(tool.name == exact["name"] for tool in tools):
        return ScriptedCall(exact["name"], (exact["arguments"] or "{}").strip())
    match = _chosen(message, tools, request.chosen) or _best(message, tools)
    return None if match is None else ScriptedCall(match.tool.name, _arguments(match, message))


def told(results: Sequence[str]) -> str:
    """One sentence about what tools gave."""
    quoted = ", ".join(f"\u201c{_short(result)}\u201d" for result in results)
    return f"The {'tool says' if len(results) == 1 else 'tools say'}: {quoted}."


def _chosen(message: str, tools: Sequence[Tool], name: str | None) -> _Match | None:
    """The tool that the request insists on."""
    for tool in tools:
        if tool.name == name:
            return _match(message, tool) or _Match(tool, 0, [])
    return None


def _best(message: str, tools: Sequence[Tool]) -> _Match | None:
    """Of the tools that are named, the one with the most words; of those, the one that is named first."""
    found = [match for tool in tools if (match := _match(message, tool))]
    return min(found, key=lambda match: (-match.words, match.end), default=None)


def _match(message: str, tool: Tool) -> _Match | None:
    places: dict[str, tuple[int, int]] = {}
    for word in _WORD.finditer(message):
        places.setdefault(_stem(word[0]), word.span())
    wanted = {_stem(word) for word in _WORD.findall(_CAMEL.sub(" ", tool.name))}
    if not wanted or not wanted <= places.keys():
        return None
    return _Match(tool, len(wanted), [places[word] for word in wanted])


def _stem(word: str) -> str:
    """Without the plural's ending."""
    word = word.casefold()
    return word[:-1] if len(word) > len("its") and word.endswith("s") and not word.endswith("ss") else word


def _arguments(match: _Match, message: str) -> dict[str, Any]:
    """Numbers for the whole-number parameters, in order; what else is said for the first required text."""
    properties, required = match.tool.properties, match.tool.required
    arguments: dict[str, Any] = {}
    whole = [name for name in properties if _takes(properties[name], "integer")]
    text = next((name for name in required if _takes(properties.get(name), "string")), None)
    rest = message[match.end :]
    if not _words(rest):
        rest = _without(message, match.spans)
    numbers = list(_NUMBER.finditer(rest))
    pairs = list(zip(sorted(whole, key=lambda name: name not in required), numbers, strict=False))
    for name, number in pairs:
        arguments[name] = int(number[0])
    if text is not None:
        said = _without(rest, [number.span() for _, number in pairs])
        arguments[text] = _words(said) or _words(message)
    return arguments


def _takes(schema: Any, kind: str) -> bool:
    """Whether a parameter may be of this type of JSON Schema."""
    match schema:
        case {"type": str() as one}:
            return one == kind
        case {"type": [*kinds]}:
            return kind in kinds
        case {"anyOf": [*schemas]}:
            return any(_takes(one, kind) for one in schemas)
        case _:
            return False


def _words(text: str) -> str:
    return _LEAD.sub("", text, count=1).strip(_QUOTES)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = f"{text[:start].rstrip()} {text[end:].lstrip()}"
    return text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN].rstrip()}\u2026"


_SHOWN = 200
"""Characters of a result that are quoted."""
