"""Settings from the environment: one frozen struct per service, every mistake named at once.

A secret may come from a file, as container platforms hand them out: `NAME_FILE` holds its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec.structs import FieldInfo

T = TypeVar("T", bound=msgspec.Struct)

SECRET: Final[dict[str, Any]] = {"secret": True}
"""`Meta(extra=SECRET)`: never shown, and read from a file if `NAME_FILE` names one."""

SECRET_URL: Final[dict[str, Any]] = {"secret": "url"}
"""The same for a URL that may carry a password: shown without it."""

HIDDEN: Final = "***"


class BrokenSettings(Exception):
    """Some environment variables cannot be used; each line of the text names one and says why."""


def read_settings(
    kind: type[T], environ: Mapping[str, str], checks: Iterable[Callable[[T], object]] = ()
) -> T:
    """Fill `kind` from the variables named like its fields in capitals; an empty one counts as unset.

    Args:
        kind: Its method `check`, if there is one, refuses combinations.
        environ: The variables.
        checks: What only a look at the world can tell. A check raises a ValueError, an OSError or
            BrokenSettings with one line per mistake.

    Raises:
        BrokenSettings: A value is missing, of the wrong type, out of its range or refused by a check.
    """
    values: dict[str, Any] = {}
    mistakes: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        try:
            values[field.name] = _value(field, name, environ)
        except ValueError as error:
            mistakes[name] = str(error)
            values[field.name] = "" if field.required else field.default
    settings = kind(**values)
    lines = list(mistakes.values())
    for check in (_check_combinations, *checks):
        try:
            check(settings)
        except (ValueError, OSError, BrokenSettings) as error:
            lines += _not_about(mistakes, str(error))
    if lines:
        raise BrokenSettings("\n".join(lines))
    return settings


@runtime_checkable
class _Checked(Protocol):
    def check(self) -> None: ...


def _check_combinations(settings: object) -> None:
    if isinstance(settings, _Checked):
        settings.check()


def _value(field: FieldInfo, name: str, environ: Mapping[str, str]) -> Any:
    """What the environment says of a field, or its default.

    Raises:
        ValueError: It cannot be used; the text names it.
    """
    text, source = environ.get(name, "").strip(), name
    secret = _secrecy(field.type)
    if secret and (file := environ.get(f"{name}_FILE", "").strip()):
        if text:
            raise ValueError(f"{name} and {name}_FILE are both set: leave one of them out")
        text, source = _content(f"{name}_FILE", file), f"{name}_FILE={file}"
    if not text:
        if field.required:
            raise ValueError(f"{name} is not set" + (f" (nor is {name}_FILE)" if secret else ""))
        return field.default
    try:
        return msgspec.convert(text, field.type, strict=False)
    except msgspec.ValidationError as error:
        shown = source if secret else f"{name}={_without_password(text)!r}"
        raise ValueError(f"{shown}: {error}") from None


def _content(name: str, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ValueError(f"{name}={file} cannot be read: {reason}") from None
    if not text:
        raise ValueError(f"{name}={file} is empty")
    return text


def _not_about(mistakes: Iterable[str], text: str) -> list[str]:
    """Leave out lines that follow from a mistake already named: its default stood in for it."""
    named = [re.compile(rf"\b{name}\b") for name in mistakes]
    return [
        _without_password(line) for line in text.splitlines() if not any(name.search(line) for name in named)
    ]


def refusal(service: str, reason: Exception) -> str:
    """What is said of a start that fails: each line for itself names the service."""
    return "\n".join(f"{service}: {line}" for line in str(reason).splitlines())


def mistyped(kind: type[msgspec.Struct], environ: Iterable[str]) -> dict[str, str]:
    """Variables that mean nothing to us but are named almost like a setting, and that setting."""
    known: set[str] = set()
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        known |= {name, f"{name}_FILE"} if _secrecy(field.type) else {name}
    near = {name: get_close_matches(name, known, n=1, cutoff=0.9) for name in environ if name not in known}
    return {name: matches[0] for name, matches in near.items() if matches}


def shown_settings(settings: msgspec.Struct, *, defaults: bool = True) -> dict[str, Any]:
    """All settings by the names of their variables, fit for a log; or without those at their default."""
    return {
        field.name.upper(): _shown(field, value)
        for field in msgspec.structs.fields(settings)
        if (value := getattr(settings, field.name)) != field.default or defaults
    }


def _shown(field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if _secrecy(field.type) is True:
        return HIDDEN
    text = _without_password(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_LONGEST_SHOWN = 200
_PASSWORD = re.compile(r"(postgres(?:ql)?://[^:/?#@\s]*):\S*@")
_CREDENTIALS = re.compile(r"(?<!postgres)(?<!postgresql)://(?:[^:/?#@\s]*:\S*|[^/?#\s]*)@")
"""Elsewhere a token may stand where the name does."""
_QUERY = re.compile(r"(://[^?\s]*\?)[^\s,]+")


def _without_password(text: str) -> str:
    """Hide what may be secret in a URL: the credentials (of a database the password), and the query."""
    text = _CREDENTIALS.sub(f"://{HIDDEN}@", _PASSWORD.sub(rf"\1:{HIDDEN}@", text))
    return _QUERY.sub(rf"\1{HIDDEN}", text)


def _secrecy(kind: Any) -> Any:
    """`True` for a secret, `"url"` for a URL with one, else nothing."""
    for meta in _metas(kind):
        if meta.extra and meta.extra.get("secret"):
            return meta.extra["secret"]
    return None


def settings_table(kind: type[msgspec.Struct]) -> str:
    """The settings as a Markdown table: name, default, meaning."""
    rows = (
        f"| `{field.name.upper()}` | {_default(field)} | {_description(field.type)} |"
        for field in msgspec.structs.fields(kind)
    )
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *rows])


def _default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default == "":
        return "empty"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _description(kind: Any) -> str:
    for meta in _metas(kind):
        if meta.description:
            text = meta.description.removesuffix(".")
            return f"{text} (or `_FILE`)" if _secrecy(kind) else text
    return ""


def _metas(kind: Any) -> list[msgspec.Meta]:
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
