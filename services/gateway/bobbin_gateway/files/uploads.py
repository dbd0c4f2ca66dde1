"""Bytes on their way in: counted and looked at while they pass, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from bobbin_gateway.files.sniffing import HEAD_BYTES, Sniffer

_MEGABYTE: Final = 1024 * 1024


class TooLarge(Exception):
    """There are more bytes than are taken, or were announced. The text is fit for the sender."""


class WrongSize(Exception):
    """There are fewer bytes than were announced, or none. The text is fit for the sender."""


async def checked(
    chunks: AsyncIterator[bytes], media_type: str, *, most: int, size: int | None
) -> AsyncIterator[bytes]:
    """Pass the bytes on as long as they are what they should be.

    Args:
        chunks: As they come.
        media_type: What they must be.
        most: How many may come.
        size: How many were announced.

    Raises:
        TooLarge, WrongSize, WrongType: They are not; no more is taken from `chunks` then.
    """
    sniffer, count = Sniffer(media_type), 0
    async for chunk in _with_whole_head(chunks):
        count += len(chunk)
        if size is not None and count > size:
            raise TooLarge(f"The file is larger than announced ({size} bytes)")
        if count > most:
            raise too_large(most)
        sniffer.take(chunk)
        yield chunk
    if count == 0:
        raise WrongSize("The file is empty")
    if size is not None and count < size:
        raise WrongSize(f"The file has {count} bytes, not {size} as announced")


def too_large(most: int) -> TooLarge:
    limit = f"{most / _MEGABYTE:.3g} MB" if most >= _MEGABYTE else f"{most} bytes"
    return TooLarge(f"The file is larger than {limit}")


async def _with_whole_head(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, with enough in the first chunk to tell what they are."""
    head = b""
    async for chunk in chunks:
        if head is None:
            yield chunk
            continue
        head += chunk
        if len(head) >= HEAD_BYTES:
            yield head
            head = None
    if head:
        yield head
