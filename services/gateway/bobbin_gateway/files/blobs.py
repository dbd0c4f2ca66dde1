"""Blobs: bytes in a local folder or in any object store that `obstore` knows; the one module that knows it.

A blob is written as a whole or not at all, and its key tells nothing of its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

_PART_BYTES: Final = 5 * 1024 * 1024
"""What is in memory of a blob that is being written: the smallest part that object stores take."""
_READ_BYTES: Final = 64 * 1024
_FAILURES: Final = (BaseError, OSError)


class BlobMissing(Exception):
    """There is no such blob."""


class BlobsUnavailable(Exception):
    """The object store cannot be reached, or refuses us: for the log."""


class Blob(Struct, frozen=True):
    """A blob that is being read."""

    size: int
    chunks: AsyncIterator[bytes]
    """Raises BlobsUnavailable if they break off."""


class Blobs:
    """All blobs of this Bobbin, whichever gateway wrote them."""

    def __init__(self, store: ObjectStore, folder: Path | None) -> None:
        self._store = store
        self._folder = folder

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Keep the bytes, in place of any before; nothing is kept when `chunks` raises, which is passed on.

        Raises:
            BlobsUnavailable: They could not be kept.
        """
        try:
            await obstore.put_async(self._store, key, chunks, chunk_size=_PART_BYTES, max_concurrency=1)
        except _FAILURES as error:
            raise BlobsUnavailable(str(error)) from error

    async def open(self, key: str) -> Blob:
        """A blob to be read in pieces.

        Raises:
            BlobMissing: There is none.
            BlobsUnavailable: It cannot be read.
        """
        try:
            found = await obstore.get_async(self._store, key)
        except FileNotFoundError as error:
            raise BlobMissing(key) from error
        except _FAILURES as error:
            raise BlobsUnavailable(str(error)) from error
        return Blob(found.meta["size"], _chunks(found))

    async def read(self, key: str) -> bytes:
        """A whole blob.

        Raises:
            BlobMissing: There is none.
            BlobsUnavailable: It cannot be read.
        """
        blob = await self.open(key)
        return b"".join([chunk async for chunk in blob.chunks])

    async def remove(self, key: str) -> None:
        """Remove a blob if it is there, and what a process that was killed left of it.

        Raises:
            BlobsUnavailable: It may still be there.
        """
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            pass
        except _FAILURES as error:
            raise BlobsUnavailable(str(error)) from error
        if self._folder is not None:
            await asyncio.to_thread(_remove_unfinished, self._folder / key)


async def _chunks(found: obstore.GetResult) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=_READ_BYTES):
            yield bytes(chunk)
    except _FAILURES as error:
        raise BlobsUnavailable(str(error)) from error


def _remove_unfinished(path: Path) -> None:
    """Remove what the local store writes to before a file is complete: its name, `#` and a number."""
    for unfinished in path.parent.glob(f"{path.name}#*"):
        unfinished.unlink(missing_ok=True)


def blob_key(owner_id: str, attachment_id: str) -> str:
    """Where the bytes of an owner's attachment lie: 256 folders, and nothing in the name to learn from."""
    digest = sha256(f"{owner_id}\0{attachment_id}".encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:42]}"


def check_url(url: str) -> None:
    """See that a URL is of a kind that blobs can be kept at, without going there.

    Raises:
        ValueError: It is not.
    """
    try:
        kind = obstore.parse_scheme(url) if url else "local"
    except (BaseError, ValueError) as error:
        raise ValueError(f"ATTACHMENTS_URL={url}: {_first_line(error)}") from error
    if kind == "http":
        raise ValueError(f"ATTACHMENTS_URL={url}: a web server keeps no blobs")


def open_blobs(url: str, data_dir: str) -> Blobs:
    """The blobs at a URL as `obstore` takes it; empty: in the folder `attachments` of `data_dir`.

    Credentials and regions are read from the environment, as the object store's own tools do.

    Raises:
        ValueError: Nothing can be kept there.
    """
    if not url or urlsplit(url).scheme == "file":
        folder = Path(unquote(urlsplit(url).path)) if url else Path(data_dir).absolute() / "attachments"
        return Blobs(_local(folder), folder)
    try:
        if urlsplit(url).scheme == "memory":
            return Blobs(from_url(url), None)
        return Blobs(from_url(url, retry_config={"max_retries": 3, "retry_timeout": _PATIENCE}), None)
    except (BaseError, OSError, ValueError) as error:
        raise ValueError(f"ATTACHMENTS_URL={url}: {_first_line(error)}") from error


def _local(folder: Path) -> LocalStore:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(folder)
    except (BaseError, OSError) as error:
        raise ValueError(f"attachments cannot be kept in {folder} (ATTACHMENTS_URL): {error}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]  # what follows is for those who debug the object store's client


_PATIENCE: Final = timedelta(seconds=30)
