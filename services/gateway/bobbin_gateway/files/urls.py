"""Signed URLs: what one may do without being signed in, as text that only this server can have made.

An upload URL lets its holder put the bytes of one attachment, of one size and type, for a while. The URL of a
file lets its holder read it for as long as there is such a file: the page around a preview sends no
credentials, an open conversation must not lose its images, and the URL is shown to the owner only.

Form: base64url of a MAC (HMAC-SHA256) and of what it covers, a grant as MessagePack.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from typing import Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct


class UploadGrant(Struct, frozen=True, array_like=True, tag="upload"):
    """The right to put the bytes of an attachment."""

    owner_id: str
    attachment_id: str
    size: int
    mime_type: str
    expires_at: int
    """Unix time, s."""


class FileGrant(Struct, frozen=True, array_like=True, tag="file"):
    """The right to read a file."""

    key: str
    mime_type: str


Grant: TypeAlias = UploadGrant | FileGrant
GrantT = TypeVar("GrantT", UploadGrant, FileGrant)


class BadUrl(Exception):
    """The URL is not one of ours for this use, or no longer counts. The text is fit for the caller."""


class Signer:
    """Makes and reads what stands in signed URLs."""

    def __init__(self, secret: str) -> None:
        # another key than what the secret may serve for elsewhere
        self._key = hmac.digest(secret.encode(), b"bobbin: signed URLs of files", "sha256")

    def sign(self, grant: Grant) -> str:
        """The grant as text for a URL's path."""
        payload = _encode(grant)
        return _text(self._mac(payload) + payload)

    def read(self, kind: type[GrantT], token: str, now: float) -> GrantT:
        """The grant of this kind that a token stands for.

        Raises:
            BadUrl: The token is not ours, is for something else, or has expired.
        """
        signed = _bytes(token)
        payload = signed[_MAC_BYTES:]
        if not hmac.compare_digest(signed[:_MAC_BYTES], self._mac(payload)):
            raise BadUrl(_NOT_OURS)
        grant = _decode(payload)
        if not isinstance(grant, kind):
            raise BadUrl(_NOT_OURS)
        if isinstance(grant, UploadGrant) and now >= grant.expires_at:
            raise BadUrl("The time for this upload is over; please attach the file again")
        return grant

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")


def _text(signed: bytes) -> str:
    return urlsafe_b64encode(signed).rstrip(b"=").decode()


def _bytes(token: str) -> bytes:
    """The opposite; one text only stands for the same bytes."""
    try:
        signed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (BadBase64, ValueError) as error:
        raise BadUrl(_NOT_OURS) from error
    if _text(signed) != token:
        raise BadUrl(_NOT_OURS)
    return signed


_MAC_BYTES: Final = 32
_NOT_OURS: Final = "This URL is not valid"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder[Grant](Grant).decode
