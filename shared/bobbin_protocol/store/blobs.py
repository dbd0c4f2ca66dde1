"""Blobs: the bytes of attachments. Gateways keep them; the store says which are to go.

Whenever an attachment's entry is removed, alone, with its thread or with all of its owner's data, its blob is
put on a list in the same transaction. A gateway takes from that list, removes and confirms; removing again
what is gone already does no harm.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bobbin_protocol.wire import Wire, always


class BlobRef(Wire):
    """The blob of an attachment."""

    owner_id: str
    attachment_id: str


class SweepBlobs(Wire):
    """``POST /v1/blobs/sweep``: confirm what has been removed, and learn what is to be removed next.

    The same call forgets attachments that have been waiting for their message for too long.
    """

    removed: Annotated[list[BlobRef], Meta(max_length=1000)] = always(list)
    """Blobs that are gone."""
    unsent_for_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    """How long an attachment may wait for its message; None: for ever."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many blobs to give, and attachments to forget, at most."""


class BlobsToRemove(Wire):
    """Blobs whose attachments are gone: they are the caller's for a minute, then another's unless confirmed.

    Each comes twice: at once, and again after an hour, when no upload that was under way at the time can
    still end.
    """

    blobs: list[BlobRef] = always(list)
    more: bool = False
    """There may be more: sweep again."""
