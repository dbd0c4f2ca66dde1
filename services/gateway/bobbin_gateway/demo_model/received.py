"""The requests received, for tests that ask what a client really sent.

`GET /requests?since=N&contains=TEXT` answers `{"next": M, "requests": [...]}`: the requests numbered N and
above (all by default) whose body holds TEXT (ASCII, as it stands in the JSON), oldest first. M is the number
that the next one gets. Each has the fields of Received. Only the last 10,000 are kept.
"""

from __future__ import annotations

from collections import deque
from typing import Literal
from urllib.parse import parse_qs

import msgspec

Outcome = Literal["open", "complete", "cut", "disconnected"]


class Received(msgspec.Struct):
    """One request to a model."""

    number: int
    path: str
    authorization: str
    body: msgspec.Raw
    """The JSON that was sent."""
    outcome: Outcome = "open"
    """How the response ended: all was sent (read or not), we cut it, or the client left while we waited."""


class Listing(msgspec.Struct, frozen=True):
    next: int
    requests: list[Received]


class ReceivedRequests:
    """A bounded list."""

    def __init__(self, limit: int = 10_000) -> None:
        self._kept: deque[Received] = deque(maxlen=limit)
        self._next = 0

    def add(self, path: str, authorization: str, body: bytes) -> Received:
        received = Received(self._next, path, authorization, msgspec.Raw(body))
        self._next += 1
        self._kept.append(received)
        return received

    def clear(self) -> None:
        self._kept.clear()

    def listing(self, query: str) -> Listing:
        """Those that a query string asks for; raises ValueError on a `since` that is no number."""
        options = parse_qs(query)
        since = int(options.get("since", ["0"])[-1])
        contains = options.get("contains", [""])[-1].encode()
        found = [one for one in self._kept if one.number >= since and contains in bytes(one.body)]
        return Listing(self._next, found)
