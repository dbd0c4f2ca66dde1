"""Settings from the environment: one frozen struct per service, every mistake named at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class BrokenSettings(Exception):
    """Some environment variables cannot be used; each line of the text names one and says why."""


def read_settings(kind: type[T], environ: Mapping[str, str]) -> T:
    """Fill `kind` from the variables named like its fields in capitals; an empty one counts as unset.

    Raises:
        BrokenSettings: A value is missing, of the wrong type or out of its range.
    """
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        text = environ.get(name, "").strip()
        if not text:
            if field.required:
                mistakes.append(f"{name} is not set")
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            shown = name if _is_secret(name) else f"{name}={text!r}"
            mistakes.append(f"{shown}: {error}")
    if mistakes:
        raise BrokenSettings("\n".join(mistakes))
    try:
        return kind(**values)
    except ValueError as error:
        raise BrokenSettings(str(error)) from error


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("TOKEN", "SECRET", "KEY", "PASSWORD", "DATABASE_URL"))


def settings_table(kind: type[msgspec.Struct]) -> str:
    """The settings as a Markdown table: name, default, meaning."""
    rows = (
        f"| `{field.name.upper()}` | {_default(field)} | {_description(field.type)} |"
        for field in msgspec.structs.fields(kind)
    )
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *rows])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default == "":
        return "empty"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _description(kind: Any) -> str:
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description.removesuffix(".")
    return ""
