"""Attachments of user messages (reference: ``types.py``, ``AttachmentBase`` and below)."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from bobbin_protocol.wire import Wire, always

AbsoluteUrl: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9+.\-]*:[^\s\x00]+\Z")]
"""A URL with its scheme. It is sent exactly as given; the reference normalises it."""


class AttachmentUploadDescriptor(Wire):
    """Where and how the client sends the bytes, in a two-phase upload."""

    url: AbsoluteUrl
    method: Literal["POST", "PUT"]
    headers: dict[str, str] = always(dict)


class AttachmentBase(Wire):
    id: str
    name: str
    mime_type: str
    upload_descriptor: AttachmentUploadDescriptor | None = None
    """Absent once the bytes are there."""
    thread_id: str | None = None
    """The thread of the message that carries it; absent until it is sent."""
    metadata: dict[str, Any] | None = None
    """For the server side only; see ``without_metadata``."""


class FileAttachment(AttachmentBase, tag="file"):
    pass


class ImageAttachment(AttachmentBase, tag="image"):
    preview_url: AbsoluteUrl


Attachment: TypeAlias = FileAttachment | ImageAttachment


def without_metadata(attachment: Attachment) -> Attachment:
    """Give the attachment as clients may see it."""
    if attachment.metadata is None:
        return attachment
    return msgspec.structs.replace(attachment, metadata=None)
