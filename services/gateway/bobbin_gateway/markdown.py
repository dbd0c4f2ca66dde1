"""Text that others wrote, where Markdown is expected: it must not become more than it is."""

from __future__ import annotations

import re


def fenced(text: str, language: str = "") -> str:
    """The text as a block of code."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def unfenced(block: str) -> str:
    """The text of one such block."""
    return block[block.index("\n") + 1 : block.rindex("\n")]


def as_text(text: str) -> str:
    """The text so that it is shown as it stands where Markdown is expected: no link, image or HTML in it."""
    return re.sub(r"([\\`*_~\[\]<>&!#|$])", r"\\\1", text)
