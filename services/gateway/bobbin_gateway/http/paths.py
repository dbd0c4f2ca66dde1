"""Ids in paths."""

from __future__ import annotations

import msgspec
from litestar.exceptions import NotFoundException

from bobbin_protocol.ids import Id


def checked_id(text: str) -> str:
    """An id as it may be; what cannot be an id cannot be found.

    Raises:
        NotFoundException: It cannot be one.
    """
    try:
        return msgspec.convert(text, Id)
    except msgspec.ValidationError as error:
        raise NotFoundException("There is no such thing") from error
