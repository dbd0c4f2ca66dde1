"""Attachments from their announcement to their removal.

The store's entry comes first and goes first: bytes without an entry can only be the rest of a removal or of
an upload, and both are swept (`sweeping`). An entry is complete when it has no upload descriptor; none is
sent in a message before that.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from bobbin_gateway.agent import AgentError
from bobbin_gateway.files.blobs import Blob, BlobMissing, Blobs, BlobsUnavailable, blob_key
from bobbin_gateway.files.sniffing import (
    SAFE_IMAGES,
    extension_for,
    is_allowed,
    looks_like,
    media_type_of,
)
from bobbin_gateway.files.uploads import checked, too_large
from bobbin_gateway.files.urls import FileGrant, Signer, UploadGrant
from bobbin_gateway.settings import Settings, names
from bobbin_gateway.store import Store, StoreRefused, StoreUnavailable
from bobbin_protocol.attachments import (
    Attachment,
    AttachmentUploadDescriptor,
    FileAttachment,
    ImageAttachment,
)
from bobbin_protocol.ids import new_id
from bobbin_protocol.requests import AttachmentCreateParams, InvalidRequest

log = structlog.get_logger()

UPLOADS: Final = "/chatkit/uploads/"
FILES: Final = "/chatkit/files/"


class AlreadyUploaded(Exception):
    """The bytes of the attachment have come before."""


class StoredFile(Struct, frozen=True):
    """A file on its way out."""

    mime_type: str
    name: str
    """What to save it as."""
    shown: bool
    """Whether a browser may show it; else it saves it."""
    blob: Blob


class Attachments:
    """The files of all owners."""

    def __init__(self, store: Store, blobs: Blobs, settings: Settings) -> None:
        self._store = store
        self._blobs = blobs
        self._signer = Signer(settings.files_secret or settings.store_token)
        self._settings = settings
        self._allowed = names(settings.attachment_types)

    async def create(self, owner_id: str, wanted: AttachmentCreateParams, base_url: str) -> Attachment:
        """Announce a file whose bytes come in a second step (``attachments.create``).

        Raises:
            InvalidRequest: Such a file is not taken.
            StoreUnavailable: The store cannot be reached.
        """
        media_type = self._accepted(wanted.mime_type, wanted.name, "params.mime_type")
        if wanted.size == 0:
            raise InvalidRequest("The file is empty", "params.size")
        if wanted.size > self._settings.attachment_max_bytes:
            raise InvalidRequest(str(too_large(self._settings.attachment_max_bytes)), "params.size")
        return await self._announce(owner_id, wanted.name, media_type, wanted.size, base_url)

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> Attachment:
        """Take the bytes that were announced.

        Raises:
            BadUrl: The token gives no right to that (any more).
            AlreadyUploaded: They have come before.
            TooLarge, WrongSize, WrongType: They are not those that were announced; nothing is kept.
            StoreRefused: The attachment has been removed.
            StoreUnavailable, BlobsUnavailable: They cannot be kept right now.
        """
        grant = self._signer.read(UploadGrant, token, time.time())
        attachment = await self._store.get_attachment(grant.owner_id, grant.attachment_id)
        if attachment.upload_descriptor is None:
            raise AlreadyUploaded
        return await self._take_in(grant.owner_id, attachment, chunks, grant.size)

    async def receive_directly(
        self, owner_id: str, name: str, mime_type: str, chunks: AsyncIterator[bytes], base_url: str
    ) -> Attachment:
        """Take a file in one step.

        Raises:
            InvalidRequest: Such a file is not taken.
            TooLarge, WrongSize, WrongType: Nothing is kept.
            StoreUnavailable, BlobsUnavailable: It cannot be kept right now.
        """
        media_type = self._accepted(mime_type, name, "file")
        attachment = await self._announce(owner_id, name, media_type, None, base_url)
        try:
            return await self._take_in(owner_id, attachment, chunks, None)
        except BaseException:
            with suppress(StoreRefused, StoreUnavailable):  # then it is forgotten when nobody sends it
                await self._store.delete_attachment(owner_id, attachment.id)
            raise

    async def open(self, token: str) -> StoredFile:
        """A file to be shown or saved.

        Raises:
            BadUrl: The token gives no right to that.
            BlobMissing: The file is gone, or has not come yet.
            BlobsUnavailable: It cannot be read right now.
        """
        grant = self._signer.read(FileGrant, token, time.time())
        blob = await self._blobs.open(grant.key)
        shown = grant.mime_type in SAFE_IMAGES
        return StoredFile(
            # a page of ours could be made to run a script of such a type, whatever its disposition
            mime_type=grant.mime_type if shown else "application/octet-stream",
            name=f"file{extension_for(grant.mime_type)}",
            shown=shown,
            blob=blob,
        )

    async def read(self, owner_id: str, attachment_id: str) -> bytes:
        """The bytes of an owner's attachment.

        Raises:
            BlobMissing: There are none.
            BlobsUnavailable: They cannot be read right now.
        """
        return await self._blobs.read(blob_key(owner_id, attachment_id))

    async def publish(self, owner_id: str, thread_id: str, data: bytes, mime_type: str) -> str:
        """Keep a file that belongs to a thread, and goes with it; gives its URL.

        Raises:
            StoreRefused: The thread is gone.
            StoreUnavailable, BlobsUnavailable: It cannot be kept right now.
        """
        looks = looks_like(data)
        media_type = looks if looks in SAFE_IMAGES else media_type_of(mime_type, "")
        if media_type in SAFE_IMAGES and media_type != looks:
            media_type = "application/octet-stream"
        attachment_id = new_id("attachment")
        name = f"file{extension_for(media_type)}"
        entry = FileAttachment(id=attachment_id, name=name, mime_type=media_type, thread_id=thread_id)
        await self._store.create_attachment(owner_id, entry)
        await self._blobs.write(blob_key(owner_id, attachment_id), _one(data))
        return self._file_url(self._settings.own_url, owner_id, attachment_id, media_type)

    def of(self, owner_id: str, thread_id: str) -> OwnerFiles:
        """The files of one owner, and a place for those that are made in a thread."""
        return OwnerFiles(self, owner_id, thread_id)

    def _accepted(self, mime_type: str, name: str, field: str) -> str:
        """The type that a file is said to have, if such files are taken."""
        if self._settings.attachment_max_bytes == 0:
            raise InvalidRequest("This server takes no attachments")
        media_type = media_type_of(mime_type, name)
        if not is_allowed(media_type, self._allowed):
            raise InvalidRequest(f"Files of this type are not taken: {media_type}", field)
        return media_type

    async def _announce(
        self, owner_id: str, name: str, media_type: str, size: int | None, base_url: str
    ) -> Attachment:
        """Make the entry of an attachment whose bytes are still to come."""
        attachment_id = new_id("attachment")
        settings = self._settings
        base_url = settings.public_url.rstrip("/") or base_url
        grant = UploadGrant(
            owner_id=owner_id,
            attachment_id=attachment_id,
            size=size or 0,
            mime_type=media_type,
            expires_at=int(time.time() + settings.upload_url_s),
        )
        # The client adds what it sends anyway, a type or the boundary of a form: it needs no headers of ours.
        upload = AttachmentUploadDescriptor(
            url=f"{base_url}{UPLOADS}{self._signer.sign(grant)}", method="PUT"
        )
        attachment: Attachment
        if media_type in SAFE_IMAGES:
            attachment = ImageAttachment(
                id=attachment_id,
                name=name,
                mime_type=media_type,
                upload_descriptor=upload,
                preview_url=self._file_url(base_url, owner_id, attachment_id, media_type),
            )
        else:
            attachment = FileAttachment(
                id=attachment_id, name=name, mime_type=media_type, upload_descriptor=upload
            )
        await self._store.create_attachment(owner_id, attachment)
        return attachment

    async def _take_in(
        self, owner_id: str, attachment: Attachment, chunks: AsyncIterator[bytes], size: int | None
    ) -> Attachment:
        key = blob_key(owner_id, attachment.id)
        most = self._settings.attachment_max_bytes
        await self._blobs.write(key, checked(chunks, attachment.mime_type, most=most, size=size))
        try:
            return await self._store.complete_attachment(owner_id, attachment.id)
        except StoreRefused:  # it has been removed meanwhile
            with suppress(BlobsUnavailable):  # then it is swept once more
                await self._blobs.remove(key)
            raise

    def _file_url(self, base_url: str, owner_id: str, attachment_id: str, media_type: str) -> str:
        grant = FileGrant(key=blob_key(owner_id, attachment_id), mime_type=media_type)
        return f"{base_url}{FILES}{self._signer.sign(grant)}"


class OwnerFiles:
    """What an agent sees of it in a turn (`agent.Files`)."""

    def __init__(self, attachments: Attachments, owner_id: str, thread_id: str) -> None:
        self._attachments = attachments
        self._owner_id = owner_id
        self._thread_id = thread_id

    async def read(self, attachment_id: str) -> bytes:
        """The bytes of an attachment of the owner.

        Raises:
            AgentError: They are not there (any more), or cannot be reached.
        """
        try:
            return await self._attachments.read(self._owner_id, attachment_id)
        except BlobMissing as error:
            raise AgentError(
                "An attached file is no longer there.",
                allow_retry=False,
                detail=f"no blob of {attachment_id}",
            ) from error
        except BlobsUnavailable as error:
            raise AgentError(
                "An attached file can't be read right now. Please try again in a moment.",
                allow_retry=True,
                detail=str(error),
            ) from error

    async def publish(self, data: bytes, mime_type: str) -> str:
        """Keep a file of the turn's thread; gives a URL that works as long as the thread is there.

        Raises:
            AgentError: It cannot be kept.
        """
        try:
            return await self._attachments.publish(self._owner_id, self._thread_id, data, mime_type)
        except (StoreRefused, StoreUnavailable, BlobsUnavailable) as error:
            raise AgentError(
                "A file could not be kept. Please try again in a moment.", allow_retry=True, detail=str(error)
            ) from error


async def _one(data: bytes) -> AsyncIterable[bytes]:
    yield data
