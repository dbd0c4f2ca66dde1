"""Positions: which changes a reader knows.

Changes are not committed in the order of any number that they carry: a transaction may begin first and commit
last. So a reader's position is not a number, but the set of transactions that it has seen, as PostgreSQL
gives it with each snapshot: all before one, but for those that were still open. Who then asks for all that is
not in the set misses nothing and gets nothing twice, and nobody waits for a transaction that stays open.

Within the changes that one look has found, readers count by the changes' ids. A position in the midst of them
holds three things: what was seen before, what that look could see, and the last id.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from bobbin_store.errors import InvalidRequest

PARTS: Final = re.compile(
    r"(?P<at>\d{1,12})\.(?P<seen>[\d_]{1,10000})(\.(?P<found>[\d_]{1,10000})\.(?P<last_id>\d{1,18}))?\Z",
    re.ASCII,
)
NUMBER: Final = re.compile(r"[1-9]\d{0,17}\Z", re.ASCII)


class Snapshot(NamedTuple):
    """A set of transactions: all before `end`, except `open`, which ascend."""

    end: int
    open: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str) -> Snapshot:
        """Read PostgreSQL's own form of it (``pg_snapshot``)."""
        _, end, open_ = text.split(":")
        return cls(int(end), tuple(int(number) for number in open_.split(",") if number))

    @property
    def start(self) -> int:
        """The first transaction that may not be in the set."""
        return self.open[0] if self.open else self.end

    @property
    def sql(self) -> str:
        """Give PostgreSQL's own form of it."""
        return f"{self.start}:{self.end}:{','.join(map(str, self.open))}"

    def __str__(self) -> str:
        return "_".join(map(str, [self.end, *(self.end - number for number in self.open)]))

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read what `str` gave.

        Raises:
            ValueError: It did not.
        """
        numbers = text.split("_")
        if not all(NUMBER.match(number) for number in numbers):
            raise ValueError("not a number")
        end, *back = map(int, numbers)
        open_ = tuple(end - number for number in back)
        if any(number < 1 for number in open_) or any(a >= b for a, b in pairwise(open_)):
            raise ValueError("not in order")
        return cls(end, open_)


class Position(NamedTuple):
    """Where a reader is."""

    at: int
    """When, in seconds since 1970 on the database's clock: nothing older has to be there still."""
    seen: Snapshot
    found: Snapshot | None = None
    """What the last look could see, if the reader has got only some of what it found."""
    last_id: int = 0
    """The last of those."""

    def __str__(self) -> str:
        rest = "" if self.found is None else f".{self.found}.{self.last_id}"
        return f"{self.at}.{self.seen}{rest}"

    @classmethod
    def parse(cls, text: str, *, field: str) -> Position:
        """Read what `str` gave.

        Raises:
            InvalidRequest: It did not.
        """
        parts = PARTS.match(text)
        if parts is None:
            raise InvalidRequest("This is no position", field=field)
        found = parts["found"]
        try:
            return cls(
                int(parts["at"]),
                Snapshot.parse(parts["seen"]),
                None if found is None else Snapshot.parse(found),
                int(parts["last_id"] or 0),
            )
        except ValueError as error:
            raise InvalidRequest("This is no position", field=field) from error
