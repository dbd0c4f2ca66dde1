"""The requests received, for tests that ask what a client really sent.

`GET /requests?since=N&contains=TEXT` answers `{"next": M, "requests": [...]}`: the requests numbered N and
above (all by default) whose body (ASCII, as it stands in the JSON) or path holds TEXT, oldest first. M is the
number that the next one gets. Each has the fields of Received. Only the last 10,000 are kept.
`"running": K` says how many answers are being made at this moment, in the background or for a reader.
"""

from __future__ import annotations

from collections import deque
from typing import Literal
from urllib.parse import parse_qs

import msgspec

Outcome = Literal["open", "complete", "cut", "disconnected"]


class Received(msgspec.Struct):
    """One request to a model, or about a background response."""

    number: int
    method: str
    path: str
    """With the query, if there is one."""
    authorization: str
    body: msgspec.Raw
    """The JSON that was sent; null without a body; of a recording, what it was (`transcription.Form`)."""
    outcome: Outcome = "open"
    """How the response ended: all was sent (read or not), we cut it, or the client left while we waited: then
    its answer is no longer made, unless it is made in the background."""
    traceparent: str = ""
    """The header of that name, as sent."""
    response_id: str | None = None
    """Of the background response that the request began."""

    def holds(self, text: str) -> bool:
        return text in self.path or text.encode() in bytes(self.body)


class Listing(msgspec.Struct, frozen=True):
    next: int
    running: int
    requests: list[Received]


class ReceivedRequests:
    """A bounded list."""

    def __init__(self, limit: int = 10_000) -> None:
        self._kept: deque[Received] = deque(maxlen=limit)
        self._next = 0

    def add(self, method: str, path: str, authorization: str, body: bytes, traceparent: str = "") -> Received:
        raw = msgspec.Raw(body or b"null")
        received = Received(self._next, method, path, authorization, raw, traceparent=traceparent)
        self._next += 1
        self._kept.append(received)
        return received

    def clear(self) -> None:
        self._kept.clear()

    def listing(self, query: str, running: int = 0) -> Listing:
        """Those that a query string asks for; raises ValueError on a `since` that is no number."""
        options = parse_qs(query)
        since = int(options.get("since", ["0"])[-1])
        contains = options.get("contains", [""])[-1]
        found = [one for one in self._kept if one.number >= since and one.holds(contains)]
        return Listing(self._next, running, found)
