"""The parent of every protocol type, and what all of them share: defaults, times, the encoder.

Rules that hold on the whole wire:

* An optional field is omitted when it has no value, never sent as ``null``: chatkit.js refuses nulls.
  Input may hold null for any optional field.
* Unknown fields of the input are ignored: clients are newer than servers.
* A tagged type carries its tag in ``type``, as the first field of its JSON object. The other fields stand in
  the order of the reference.
* Times are UTC and written as RFC 3339 with ``Z``. A time without a zone is taken as UTC.
* Free-form JSON (``Any``, ``dict[str, Any]``) is kept as it is, nulls included.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, dataclass_transform, overload

import msgspec

T = TypeVar("T")


@overload
def always(default: type[list[Any]]) -> list[Any]: ...
@overload
def always(default: type[dict[Any, Any]]) -> dict[Any, Any]: ...
@overload
def always(default: Callable[[], T]) -> T: ...
@overload
def always(default: T) -> T: ...
def always(default: Any) -> Any:
    """Declare a default, or a factory of it, that is sent all the same, as the reference sends it.

    msgspec leaves out a field that has its default, but knows nothing of the value behind a factory of ours.
    """
    if callable(default):
        factory = cast("Callable[[], Any]", default)
        return msgspec.field(default_factory=lambda: factory())  # noqa: PLW0108 (msgspec omits a bare list)
    return msgspec.field(default_factory=lambda: default)


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class WireMeta(msgspec.StructMeta):
    """Makes all fields keyword-only, which msgspec does not inherit. Required ones may follow others."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> "WireMeta":
        options.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **options)


class Wire(msgspec.Struct, metaclass=WireMeta, omit_defaults=True):
    """Parent of all types that travel. Values are checked when decoded, not when built in Python."""


def utc(moment: datetime) -> datetime:
    """Give the moment in UTC; one without a zone is taken as UTC already.

    Raises:
        ValueError: the moment falls out of the calendar in UTC.
    """
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("Time out of range") from error


encode_json: Callable[[object], bytes] = msgspec.json.Encoder().encode
"""Encode any protocol value, or plain JSON-like data, as UTF-8 JSON in one line."""
