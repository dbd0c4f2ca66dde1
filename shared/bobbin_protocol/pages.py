"""Pages of a list (reference: ``types.py``, ``Page``)."""

from typing import Generic, TypeVar

from bobbin_protocol.wire import Wire, always

T = TypeVar("T")


class Page(Wire, Generic[T]):
    """A part of a list, and where the next part begins."""

    data: list[T] = always(list)
    has_more: bool = always(default=False)
    after: str | None = None
    """The cursor to ask the next page with; absent on the last."""
