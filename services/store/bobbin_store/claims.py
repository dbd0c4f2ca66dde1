"""Claims: a living gateway takes over the turns of those that died, and of those that gave them up."""

from __future__ import annotations

from typing import Final

from bobbin_protocol.store.gateways import ClaimedTurn, ClaimedTurns, ClaimTurns
from bobbin_store import items, journal, threads
from bobbin_store.database import EVERY_OWNER, Database, Row
from bobbin_store.errors import NotFound

# If the claimer is alive, and has been without a gap for a lease's length (after a standstill, in which all
# lapsed, the others had that long to renew), declare dead whose lease has lapsed. One that is writing at this
# moment is passed over. The claimer stays alive until the transaction ends. A claim that had to wait goes by
# when it began (`now()`): so it takes nobody for dead who lived then.
DECLARE_DEAD = """
WITH claimer AS MATERIALIZED (
    SELECT FROM gateways
    WHERE id = $1 AND NOT dead AND lease_until > now() AND claims_from <= now() FOR SHARE
), lapsed AS MATERIALIZED (
    SELECT gateways.id FROM claimer, gateways
    WHERE gateways.id <> $1 AND NOT gateways.dead AND gateways.lease_until < now()
    ORDER BY gateways.id FOR NO KEY UPDATE OF gateways SKIP LOCKED
), declared AS (
    UPDATE gateways SET dead = true FROM lapsed WHERE gateways.id = lapsed.id
)
SELECT EXISTS (SELECT FROM claimer)
"""

# Lock turns that are under the lease of no living gateway. The gateways that have turns are found by leaping
# along the index from one to the next, whatever the number of turns.
ORPHANED = """
WITH RECURSIVE holder (id) AS (
    SELECT min(gateway_id) FROM turns
    UNION ALL
    SELECT (SELECT min(gateway_id) FROM turns WHERE gateway_id > holder.id) FROM holder WHERE id IS NOT NULL
), lost AS MATERIALIZED (
    SELECT id FROM holder
    WHERE id <> $1 AND NOT EXISTS (SELECT FROM gateways WHERE gateways.id = holder.id AND NOT dead)
)
SELECT turn.* FROM lost CROSS JOIN LATERAL (
    SELECT owner_id, id, thread_id, message_id, subject_id, state, cancel_requested, checkpoint FROM turns
    WHERE gateway_id = lost.id AND ended_at IS NULL
    LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
) AS turn
LIMIT $2
"""

# Put turns under a gateway's lease.
TAKE = """
UPDATE turns SET gateway_id = $1 FROM unnest($2::text[], $3::text[]) AS taken (owner_id, id)
WHERE turns.owner_id = taken.owner_id AND turns.id = taken.id
"""

# The message that a turn answers, or what it goes on from.
ITEM = "SELECT data, turn_id, seq FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"

# Turns under a gateway's lease that it does not know of.
UNKNOWN = """
SELECT owner_id, id, thread_id, message_id, subject_id, state, cancel_requested, checkpoint FROM turns
WHERE gateway_id = $1 AND ended_at IS NULL
AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS known (id) WHERE known.id = turns.id)
LIMIT $3
"""

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of chunks in one answer, but for those of the last turn."""


async def claim(database: Database, gateway_id: str, wanted: ClaimTurns) -> ClaimedTurns:
    """Put turns that nobody runs under a gateway's lease, and give all that is known of them.

    No two gateways get the same turn. One that is unknown, dead, or that has not held its lease without a gap
    for as long as one lasts gets none.
    """
    async with database.transaction(EVERY_OWNER) as session:
        if not await session.fetchval(DECLARE_DEAD, gateway_id):
            return ClaimedTurns()
        taken = await session.fetch(ORPHANED, gateway_id, wanted.limit)
        if taken:
            owners, turn_ids = [row["owner_id"] for row in taken], [row["id"] for row in taken]
            await session.execute(TAKE, gateway_id, owners, turn_ids)
        if wanted.running is not None and len(taken) < wanted.limit:
            known = [*wanted.running, *(row["id"] for row in taken)]
            taken += await session.fetch(UNKNOWN, gateway_id, known, wanted.limit - len(taken))
    return await _told(database, taken, full=len(taken) == wanted.limit)


async def _told(database: Database, taken: list[Row], *, full: bool) -> ClaimedTurns:
    """Give what is known of taken turns; those for which there is no room the next claim finds `UNKNOWN`."""
    turns: list[ClaimedTurn] = []
    size = 0
    for row in taken:
        if size >= MOST_BYTES:
            return ClaimedTurns(turns=turns, more=True)
        if turn := await _turn(database, row):
            turns.append(turn)
            size += sum(len(chunk.data) for chunk in turn.journal)
    return ClaimedTurns(turns=turns, more=full)


async def _turn(database: Database, row: Row) -> ClaimedTurn | None:
    """Give what is known of a turn that has been taken; None if its thread has been deleted meanwhile."""
    owner = row["owner_id"]
    async with database.session(owner) as session:
        try:
            thread = await threads.get(session, owner, row["thread_id"])
        except NotFound:
            return None
        about = row["message_id"] or row["subject_id"]
        item = await session.fetchrow(ITEM, owner, row["thread_id"], about) if about else None
        brought = item is not None and item["turn_id"] == row["id"]
        message, subject = (item, None) if row["message_id"] else (None, item)
        return ClaimedTurn(
            owner_id=owner,
            turn_id=row["id"],
            state=row["state"],
            thread=thread,
            message=None if message is None else items.decode_item(message["data"]),
            brought_message=message is not None and brought,
            created_thread=message is not None and brought and message["seq"] == 1,
            subject=items.decode_item(subject["data"]) if subject is not None and brought else None,
            cancel_requested=row["cancel_requested"],
            checkpoint=row["checkpoint"],
            journal=await journal.read(session, owner, row["id"]),
        )
