"""Blobs: which of them are to be removed. Their bytes lie with the gateways."""

from __future__ import annotations

from datetime import timedelta

from bobbin_protocol.store.blobs import BlobRef, BlobsToRemove, SweepBlobs
from bobbin_store.database import EVERY_OWNER, Database

# Forget attachments that have waited for their message for too long; a trigger puts their blobs on the list.
FORGET_UNSENT = """
WITH unsent AS MATERIALIZED (
    SELECT owner_id, id FROM attachments
    WHERE thread_id IS NULL AND touched_at < now() - $1::interval
    ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM attachments USING unsent
    WHERE attachments.owner_id = unsent.owner_id AND attachments.id = unsent.id
    RETURNING 1
)
SELECT count(*) FROM gone
"""

# Take from the list what is due; whoever takes it has a minute to confirm.
TAKE_DUE = """
WITH due AS MATERIALIZED (
    SELECT owner_id, attachment_id FROM removed_blobs
    WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE removed_blobs SET due_at = now() + interval '1 minute' FROM due
WHERE removed_blobs.owner_id = due.owner_id AND removed_blobs.attachment_id = due.attachment_id
RETURNING due.owner_id, due.attachment_id
"""

# Forget blobs that are gone for good: no upload that was under way at the time can still end.
FORGET_GONE = """
DELETE FROM removed_blobs USING unnest($1::text[], $2::text[]) AS gone (owner_id, attachment_id)
WHERE removed_blobs.owner_id = gone.owner_id AND removed_blobs.attachment_id = gone.attachment_id
AND removed_at < now() - interval '1 hour'
"""

# Have the others removed once more later.
POSTPONE = """
UPDATE removed_blobs SET due_at = removed_at + interval '1 hour'
FROM unnest($1::text[], $2::text[]) AS gone (owner_id, attachment_id)
WHERE removed_blobs.owner_id = gone.owner_id AND removed_blobs.attachment_id = gone.attachment_id
"""


async def sweep(database: Database, wanted: SweepBlobs) -> BlobsToRemove:
    """Note what has been removed, forget attachments that nobody sends, and say what is to be removed."""
    unsent = 0
    async with database.session(EVERY_OWNER) as session:
        if wanted.removed:
            owners = [blob.owner_id for blob in wanted.removed]
            attachment_ids = [blob.attachment_id for blob in wanted.removed]
            await session.execute(FORGET_GONE, owners, attachment_ids)
            await session.execute(POSTPONE, owners, attachment_ids)
        if wanted.unsent_for_s is not None:
            waited = timedelta(seconds=wanted.unsent_for_s)
            unsent = int(await session.fetchval(FORGET_UNSENT, waited, wanted.limit))
        rows = await session.fetch(TAKE_DUE, wanted.limit)
    blobs = [BlobRef(owner_id=row["owner_id"], attachment_id=row["attachment_id"]) for row in rows]
    return BlobsToRemove(blobs=blobs, more=wanted.limit in {len(blobs), unsent})
