"""Bytes on their way in: no more of them than were announced, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.files.sniffing import WrongType
from bobbin_gateway.files.uploads import TooLarge, WrongSize, checked

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Source:
    """Chunks, and how many of them were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.taken = 0
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.taken += 1
            yield chunk


async def take(source: Source, media_type: str, *, most: int = 1000, size: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in checked(aiter(source), media_type, most=most, size=size)])


@given(st.lists(st.integers(1, 30), min_size=1))
async def test_bytes_pass_as_they_are_however_they_are_cut(sizes: list[int]) -> None:
    chunks, rest = [], PNG
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert await take(Source(*filter(None, chunks), rest), "image/png", size=len(PNG)) == PNG


async def test_nothing_is_taken_after_too_much() -> None:
    for options in ({"most": 250}, {"size": 250}):
        source = Source(*[b"x" * 100] * 10)
        with pytest.raises(TooLarge):
            await take(source, "text/plain", **options)
        assert source.taken == 3


async def test_nothing_is_taken_after_a_lie() -> None:
    source = Source(*[b"x" * 100] * 10)
    with pytest.raises(WrongType):
        await take(source, "image/png")
    assert source.taken == 1


@pytest.mark.parametrize("size", [None, 3])
async def test_nothing_is_no_file(size: int | None) -> None:
    with pytest.raises(WrongSize, match="empty"):
        await take(Source(), "text/plain", size=size)


async def test_less_than_announced_is_told() -> None:
    with pytest.raises(WrongSize, match="2 bytes, not 3"):
        await take(Source(b"xx"), "text/plain", size=3)


async def test_a_limit_is_told_in_the_units_of_people() -> None:
    with pytest.raises(TooLarge, match=r"larger than 1\.5 MB"):
        await take(Source(b"x" * (2 << 20)), "text/plain", most=3 << 19)
