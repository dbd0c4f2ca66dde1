"""Blobs: whole or not at all, in memory and in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bobbin_gateway.files.blobs import BlobMissing, Blobs, BlobsUnavailable, blob_key, check_url, open_blobs

KEY = blob_key("ada", "atc_1")
LARGE = bytes(range(256)) * 50_000  # 12.8 MB: more than two parts


@pytest.fixture(params=["memory", "folder"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return open_blobs("memory:///" if request.param == "memory" else (tmp_path / "a b").as_uri(), "")


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for place in range(0, len(data), size):
        yield data[place : place + size]


@pytest.mark.parametrize("data", [b"x", LARGE], ids=["small", "large"])
async def test_what_is_written_is_read_back(blobs: Blobs, data: bytes) -> None:
    await blobs.write(KEY, pieces(data))
    assert await blobs.read(KEY) == data
    blob = await blobs.open(KEY)
    assert blob.size == len(data)
    assert b"".join([chunk async for chunk in blob.chunks]) == data


async def test_a_blob_is_replaced_as_a_whole(blobs: Blobs) -> None:
    await blobs.write(KEY, pieces(LARGE))
    await blobs.write(KEY, pieces(b"new"))
    assert await blobs.read(KEY) == b"new"


async def test_a_blob_that_was_removed_is_missing(blobs: Blobs) -> None:
    await blobs.write(KEY, pieces(b"x"))
    for _ in range(2):
        await blobs.remove(KEY)
        with pytest.raises(BlobMissing):
            await blobs.read(KEY)


@pytest.mark.parametrize("size", [0, 100, 12_000_000])
async def test_a_blob_whose_bytes_break_off_is_not_there(blobs: Blobs, size: int, tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces(LARGE[:size]):
            yield piece
        raise Broken

    with pytest.raises(Broken):
        await blobs.write(KEY, broken())
    with pytest.raises(BlobMissing):
        await blobs.open(KEY)
    assert files_in(tmp_path) == []


async def test_no_more_than_two_parts_are_taken_ahead(tmp_path: Path) -> None:
    """A slow store makes the sender wait: what has been taken in is at most two parts ahead of the disk."""
    blobs = open_blobs(tmp_path.as_uri(), "")
    taken, most_ahead, most = 0, 0, asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken, most_ahead
        for _ in range(480):
            taken += 65_536
            most_ahead = max(most_ahead, taken - sum(path.stat().st_size for path in files_in(tmp_path)))
            yield bytes(65_536)
        most.set()
        await asyncio.Event().wait()

    writing = asyncio.ensure_future(blobs.write(KEY, endless()))
    await most.wait()
    writing.cancel()
    await asyncio.wait([writing])
    assert most_ahead <= 2 * 5 * 1024 * 1024
    with pytest.raises(BlobMissing):
        await blobs.open(KEY)


async def test_what_a_killed_process_left_of_a_file_goes_with_it(tmp_path: Path) -> None:
    blobs = open_blobs("", str(tmp_path))
    await blobs.write(KEY, pieces(b"x"))
    path = tmp_path / "attachments" / KEY
    assert path.read_bytes() == b"x"
    (path.parent / f"{path.name}#1").write_bytes(b"half")
    (path.parent / f"{path.name}0#1").write_bytes(b"another's")
    await blobs.remove(KEY)
    assert [left.name for left in path.parent.iterdir()] == [f"{path.name}0#1"]


async def test_a_folder_that_is_gone_is_a_failure_and_not_a_missing_blob(tmp_path: Path) -> None:
    (tmp_path / "attachments").mkdir()
    blobs = open_blobs("", str(tmp_path))
    (tmp_path / "attachments").rmdir()
    (tmp_path / "attachments").write_text("a file in its place")
    with pytest.raises(BlobsUnavailable):
        await blobs.write(KEY, pieces(b"x"))


@pytest.mark.parametrize("url", ["nonsense", "gopher://a/b", "file:///dev/null/a"])
def test_a_place_where_nothing_can_be_kept_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="ATTACHMENTS_URL"):
        open_blobs(url, "")


@pytest.mark.parametrize("url", ["", "file:///folder", "s3://b/prefix", "gs://b", "az://b", "memory:///"])
def test_a_place_is_known_by_its_kind(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("url", ["nonsense", "gopher://a/b", "http://a/b"])
def test_a_place_of_no_kind_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="ATTACHMENTS_URL") as told:
        check_url(url)
    assert "\n" not in str(told.value)


def test_keys_tell_nothing_and_never_meet() -> None:
    keys = [blob_key(*pair) for pair in [("a", "bc"), ("ab", "c"), ("a", ".."), ("../..", "a"), ("a/b", "c")]]
    assert len(set(keys)) == len(keys)
    for key in keys:
        folder, name = key.split("/")
        assert (folder + name).isalnum()
