"""What the demo model says."""

from __future__ import annotations

import re

from bobbin_gateway.demo_model.prompt import Request
from bobbin_gateway.demo_model.tool_use import told

DELTA_S = 0.025
"""Seconds between two words: about as fast as a hosted model."""


def demo_pieces(request: Request) -> list[str]:
    """The demo's answer to a request, a word with its white space at a time."""
    if request.said is not None:
        return _words(request.said)
    if _ASKS_FOR_TITLE.search(request.system):
        return _words(_title(request.questions))
    if request.results:
        return _words(told(request.results[-1]))
    return _words(_answer(request.questions))


def _answer(questions: list[str]) -> str:
    *earlier, last = questions or [""]
    lines = [f"You said: {_quoted(last)}" if last.strip() else "You said nothing that I can read.", ""]
    if earlier:
        count = "one earlier message" if len(earlier) == 1 else f"{len(earlier)} earlier messages"
        lines += [f"I also remember **{count}** of yours. The first was: {_quoted(earlier[0])}", ""]
    else:
        lines += ["This is your **first message** here; send another, and I will recall this one.", ""]
    lines += [
        "I am a *demo model*: I have no intelligence, but I stream like one that has.",
        "",
        "- Set `OPENAI_API_KEY` to talk to a real model, and `MODEL` to choose which.",
        "- Set `OPENAI_BASE_URL` for any other OpenAI-compatible server.",
        "- Start a message with `say:` and I repeat the rest of it.",
        "- Name one of my tools, if I have any, and I call it.",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line}”" if len(line) <= _QUOTE else f"“{line[:_QUOTE].rstrip()}…”"


def _title(questions: list[str]) -> str:
    words = re.findall(r"\w[\w'\u2019-]*", questions[0] if questions else "")[:5]
    title = " ".join(words)
    return title[:1].upper() + title[1:] if title else "An empty message"


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*?(?=\s|$)|\s+", text)


_ASKS_FOR_TITLE = re.compile(r"\btitle\b", re.IGNORECASE)
_QUOTE = 300
"""Characters of a message that are quoted."""
