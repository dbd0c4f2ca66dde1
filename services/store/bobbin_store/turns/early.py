"""Storing items of a turn before its end: what has had effects outside must not be lost with its gateway."""

from __future__ import annotations

from bobbin_protocol.store.turns import AddTurnItems
from bobbin_store import items
from bobbin_store.database import Database
from bobbin_store.errors import Conflict, InvalidRequest, LeaseLost
from bobbin_store.turns import record
from bobbin_store.turns.finish import DEAD, ELSEWHERE

# Write items of a turn that runs under this gateway's lease ($4), behind what is in its thread ($3, where
# they say that they belong). One that is there already is replaced where it stands. A turn whose place a
# retry has removed has none for them.
ADD = """
WITH thread AS (
    SELECT id FROM threads
    WHERE owner_id = $1 AND id = (SELECT thread_id FROM turns WHERE owner_id = $1 AND id = $2)
    AND id = coalesce($3, id)
    FOR NO KEY UPDATE
), held AS MATERIALIZED (
    SELECT turns.discarded FROM thread, turns
    WHERE turns.owner_id = $1 AND turns.id = $2 AND turns.ended_at IS NULL
    AND turns.gateway_id IS NOT DISTINCT FROM $4
    FOR NO KEY UPDATE OF turns
), grown AS (
    UPDATE threads SET last_seq = last_seq + cardinality($5::text[]), updated_at = now()
    WHERE owner_id = $1 AND id = (SELECT id FROM thread WHERE EXISTS (SELECT FROM held WHERE NOT discarded))
    RETURNING id, last_seq
), written AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, grown.id, entry.id, grown.last_seq - cardinality($5::text[]) + entry.number,
           entry.type, entry.hidden, $2, entry.created_at, entry.data
    FROM grown, unnest($5::text[], $6::text[], $7::boolean[], $8::timestamptz[], $9::json[])
        WITH ORDINALITY AS entry (id, type, hidden, created_at, data, number)
    ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
    SET type = excluded.type, hidden = excluded.hidden, turn_id = excluded.turn_id,
        created_at = excluded.created_at, data = excluded.data
)
SELECT EXISTS (SELECT FROM held)
"""


async def add(database: Database, owner: str, turn_id: str, wanted: AddTurnItems) -> None:
    """Write items of a turn that runs; a repeat changes nothing.

    Raises:
        InvalidRequest: An item is not one of the turn's thread.
        NotFound: There is no such turn, or its thread has been deleted.
        Conflict: It has ended.
        LeaseLost: It is under another gateway's lease, or was until its end.
    """
    thread_id = wanted.items[0].get("thread_id") if wanted.items else None
    entries = items.entries_of(wanted.items, thread_id)
    async with database.session(owner) as session:
        columns = items.columns(entries)
        if await session.fetchval(ADD, owner, turn_id, thread_id, wanted.gateway_id, *columns):
            return
        turn = await record.load(session, owner, turn_id)
        if thread_id not in {None, turn.thread_id}:
            raise InvalidRequest(ELSEWHERE, field="$.items[0].thread_id")
        if turn.ended_at is None or await session.fetchval(DEAD, wanted.gateway_id):
            raise LeaseLost("The turn is under the lease of another gateway")
        raise Conflict(f"The turn has ended already: {turn.state}")
