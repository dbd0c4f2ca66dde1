"""Removing the bytes of attachments that are gone, and forgetting attachments that nobody sends.

Every gateway does it; the store gives each blob to one of them at a time. Whatever a gateway that dies has
left undone is due again a minute later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from bobbin_gateway.files.blobs import Blobs, BlobsUnavailable, blob_key
from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_protocol.store.blobs import BlobRef, SweepBlobs

log = structlog.get_logger()

_AT_ONCE: Final = 100


class Sweeper:
    """Sweeps from time to time, and at a word."""

    def __init__(self, store: Store, blobs: Blobs, settings: Settings) -> None:
        self._store = store
        self._blobs = blobs
        self._settings = settings
        self._wanted = asyncio.Event()

    def hurry(self) -> None:
        """Something has just been removed."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            self._wanted.clear()
            try:
                await self.sweep()
            except (StoreRefused, StoreUnavailable) as error:
                log.info("no blobs swept, will try again", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.attachment_sweep_s):
                    await self._wanted.wait()

    async def sweep(self) -> None:
        """Remove all that is due.

        Raises:
            StoreRefused, StoreUnavailable: It could not be asked for, or confirmed: then it comes again.
        """
        removed: list[BlobRef] = []
        more = True
        while more or removed:
            wanted = SweepBlobs(
                removed=removed, unsent_for_s=self._settings.attachment_keep_s, limit=_AT_ONCE
            )
            answer = await self._store.sweep_blobs(wanted)
            removed = await self._remove(answer.blobs)
            more = answer.more

    async def _remove(self, blobs: Sequence[BlobRef]) -> list[BlobRef]:
        """Remove blobs; those that are gone."""
        gone: list[BlobRef] = []
        for blob in blobs:
            try:
                await self._blobs.remove(blob_key(blob.owner_id, blob.attachment_id))
            except BlobsUnavailable as error:
                log.warning("blob not removed", attachment_id=blob.attachment_id, reason=str(error))
            else:
                gone.append(blob)
        return gone
