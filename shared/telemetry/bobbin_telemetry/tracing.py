"""Spans of what a service does; and to which trace they belong, in the headers of calls (W3C trace context).

Off, which is the default, all of this does nothing and nothing of OpenTelemetry is loaded: its own no-op
costs a dozen times what the one here does, and importing it 1.5 MB. `bobbin_telemetry.otlp` makes the spans.

What a span may hold is decided where it is made: names, ids of threads and turns, numbers. Never what people
or models say, whose it is (`owner_id`), or anything secret. Of an exception it gets the type, not the text.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from structlog.typing import EventDict, WrappedLogger

Attributes: TypeAlias = Mapping[str, str | int | float | bool]
Kind: TypeAlias = Literal["internal", "client", "server"]


class Span(Protocol):
    """Something that takes time, as a block of code; an exception that leaves it is noted by its type."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set(self, attributes: Attributes) -> None:
        """Say more about it."""
        ...

    def rename(self, name: str) -> None:
        """Give it the name that was not known at its start."""
        ...

    def event(self, name: str) -> None:
        """Note that something happened within it, now."""
        ...

    def fail(self, kind: str) -> None:
        """Note that it failed, with the kind of failure (few different ones)."""
        ...

    def link(self, other: Span) -> None:
        """Point to a span of another trace, or of another branch of this one."""
        ...

    def active(self) -> AbstractContextManager[object]:
        """Within this block it is the current one: the parent of spans, and in the headers of calls."""
        ...


class Tracing(Protocol):
    """What makes spans while tracing is on."""

    def span(self, name: str, attributes: Attributes, kind: Kind, *, active: bool, root: bool) -> Span: ...
    def served(self, headers: Mapping[str, str], attributes: Attributes) -> Span: ...
    def past(self, name: str, attributes: Attributes, seconds: float, failure: str | None) -> None: ...
    def current(self) -> Span: ...
    def untrace(self) -> None: ...
    def inject(self, headers: MutableMapping[str, str]) -> None: ...
    def ids(self) -> tuple[str, str] | None: ...


class _Nothing:
    """The span while tracing is off: there is one for all."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set(self, attributes: Attributes) -> None: ...
    def rename(self, name: str) -> None: ...
    def event(self, name: str) -> None: ...
    def fail(self, kind: str) -> None: ...
    def link(self, other: Span) -> None: ...
    def active(self) -> Self:
        return self


NOTHING: Span = _Nothing()
_tracing: Tracing | None = None


def switch(tracing: Tracing | None) -> None:
    """Turn tracing on, or off, in this process."""
    global _tracing  # noqa: PLW0603 (the one switch of a process)
    _tracing = tracing


def is_on() -> bool:
    """Whether there is any use in preparing something for a span."""
    return _tracing is not None


def span(
    name: str,
    attributes: Attributes | None = None,
    kind: Kind = "internal",
    *,
    active: bool = True,
    root: bool = False,
) -> Span:
    """A span that begins now and ends with its block.

    Args:
        name: What is done; few different ones.
        attributes: What is known of it.
        kind: `client` for a call of another service.
        active: Whether it is the current one within its block. Not so in a generator, which shares the
            context of whoever asks it for the next value.
        root: Whether it begins a trace of its own.
    """
    if _tracing is None:
        return NOTHING
    return _tracing.span(name, attributes or {}, kind, active=active, root=root)


def served(headers: Mapping[str, str], attributes: Attributes) -> Span:
    """The span of a request that is served, in the trace that its headers tell of, if they do."""
    return NOTHING if _tracing is None else _tracing.served(headers, attributes)


def past(name: str, attributes: Attributes, seconds: float, failure: str | None) -> None:
    """Add a call of another service that has just ended, after so long."""
    if _tracing is not None:
        _tracing.past(name, attributes, seconds, failure)


def current() -> Span:
    """The span within which this is called."""
    return NOTHING if _tracing is None else _tracing.current()


def untrace() -> None:
    """Make no spans in this task and its children, nor let those who are called from there make any.

    For what a process does all the time for itself.
    """
    if _tracing is not None:
        _tracing.untrace()


def inject(headers: MutableMapping[str, str]) -> None:
    """Add to the headers of a call to which trace it belongs."""
    if _tracing is not None:
        _tracing.inject(headers)


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say in a line of the log to which span it belongs (a processor of structlog)."""
    if _tracing is not None and (ids := _tracing.ids()) is not None:
        event["trace_id"], event["span_id"] = ids
    return event
