"""Text that others wrote, as a block of Markdown that it cannot get out of."""

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
