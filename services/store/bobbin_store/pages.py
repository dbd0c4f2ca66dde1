"""Pages cut by keyset: the next page begins behind an id, so its cost does not grow with the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from bobbin_protocol.pages import Page
from bobbin_protocol.requests import Order
from bobbin_store.errors import InvalidRequest

T = TypeVar("T")

DEFAULT_SIZE = 20
MAX_SIZE = 100


class PageRequest(NamedTuple):
    """Which page a caller wants. `limit` 0 means the default; more than the maximum means the maximum."""

    limit: int = 0
    order: Order = "desc"
    after: str | None = None

    @property
    def size(self) -> int:
        return min(self.limit or DEFAULT_SIZE, MAX_SIZE)


def cut(values: list[T], ids: Sequence[Any], size: int) -> Page[T]:
    """Make a page of `size` from values of which one more was asked for, to see whether there are more."""
    if len(values) <= size:
        return Page(data=values, has_more=False)
    return Page(data=values[:size], has_more=True, after=ids[size - 1])


def unknown_cursor() -> InvalidRequest:
    return InvalidRequest("There is nothing with the id given as `after` in this list", field="after")
