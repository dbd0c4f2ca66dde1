"""Errors as providers of models tell them, in whatever shape, and what of that may be logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from msgspec import Struct

LogFacts: TypeAlias = Mapping[str, str | int]

_FAILING = range(400, 600)
"""HTTP statuses of failures."""
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""What a machine-readable word of a provider's looks like."""


class Facts(Struct, frozen=True):
    """What a provider said about a failure, whatever shape it gave it."""

    status: int | None
    """As HTTP has it."""
    code: str
    """Machine-readable; the empty string when there is none."""
    message: str
    request_id: str = ""

    def logged(self) -> dict[str, str | int]:
        """What the log may hold of it."""
        words = {"code": self.code, "provider_request_id": self.request_id}
        sane: dict[str, str | int] = {name: word for name, word in words.items() if _CODE.fullmatch(word)}
        return sane if self.status is None else {"status": self.status, **sane}


def facts_of(error: object, *, status: int | None, request_id: str = "") -> Facts:
    """Read an error object: a plain text, or fields at the top, or again below ``error``."""
    if not isinstance(error, dict):
        return Facts(status=status, code="", message=str(error or ""), request_id=request_id)
    fields = cast("dict[str, Any]", error)
    inner = fields.get("error")
    if isinstance(inner, dict):
        fields = {**fields, **cast("dict[str, Any]", inner)}
    elif isinstance(inner, str):
        fields = {**fields, "message": inner}
    numbers = [_number(fields.get(name)) for name in ("status_code", "status", "code")]
    code, kind = fields.get("code"), fields.get("type")
    return Facts(
        status=status or next((number for number in numbers if number in _FAILING), None),
        code=code if isinstance(code, str) and not code.isdigit() else str(kind or ""),
        message=str(fields.get("message") or ""),
        request_id=request_id,
    )


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0
