"""What no server may exceed, and what is raised when one does or goes away."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 16_777_216
"""Largest message of a server that is kept in memory. Large enough for some images."""


class ServerGone(Exception):
    """The connection to a server is over; the text completes the sentence "the server is away:"."""
