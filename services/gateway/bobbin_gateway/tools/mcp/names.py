"""Names and texts of a server, made fit for model APIs and for people. All that servers send is hostile."""

from __future__ import annotations

import re
from hashlib import sha256

MAX_NAME = 64
"""What the model APIs allow."""
MAX_PREFIX = 24


def server_prefix(name: str) -> str:
    """A server's name as part of the names of its tools: it neither holds ``__`` nor ends with ``_``.

    So the first ``__`` of a tool's name ends the prefix, and tools of two servers never have the same name.
    """
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")


def tool_name(prefix: str, name: str) -> str:
    """What the model calls a tool: ``server__tool``, 1 to 64 letters, digits, ``_`` and ``-``.

    A name that must be changed gets a piece of its digest. It depends on nothing else, so it is the same in
    every process and after every restart: the calls in a thread's history keep their meaning.
    """
    room = MAX_NAME - len(prefix) - 2
    fit = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if fit != name or len(fit) > room or not fit:
        digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
        fit = f"{fit[: room - _DIGEST - 1]}_{digest}"
    return f"{prefix}__{fit}"


_DIGEST = 6


def one_line(text: str, limit: int) -> str:
    """The text's printable characters as one line; neither controls nor marks that turn text around."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
