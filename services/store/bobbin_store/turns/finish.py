"""Finishing a turn: its whole outcome in one statement."""

from __future__ import annotations

from typing import Final

from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.store.turns import FinishTurn, TurnFinished, TurnState
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import encode_json
from bobbin_store import items, threads
from bobbin_store.database import Database, Session
from bobbin_store.errors import Conflict, InvalidRequest, LeaseLost
from bobbin_store.turns import record

UNCHANGED = ThreadChange()

ELSEWHERE: Final = "The items say that they are in another thread"

# End a running turn under this gateway's lease ($21): its state, its items in their order, its thread ($3, if
# given, is where the items belong), what the journal lacks. A turn whose place a retry has removed ends
# without items or changes. Nothing happens to one that has ended. An item that is there already stays where
# it stands, but for those that the turn has stored early: they get their place among its others.
#
# It is asked for `ended_at`, not `state`: the index of all running turns would look like a way to find one.
END = """
WITH thread AS (
    SELECT id FROM threads
    WHERE owner_id = $1 AND id = (SELECT thread_id FROM turns WHERE owner_id = $1 AND id = $2)
    AND id = coalesce($3, id)
    FOR NO KEY UPDATE
), ended AS (
    UPDATE turns SET
        state = CASE state WHEN 'running' THEN $4 ELSE state END, ended_at = now(), usage = $5, error = $6,
        event_count = $22, gateway_id = NULL,
        deserted_at = CASE WHEN $23::boolean IS NULL THEN deserted_at WHEN $23 THEN now() END,
        joined_by = CASE WHEN $23 THEN NULL ELSE joined_by END
    FROM thread
    WHERE turns.owner_id = $1 AND turns.id = $2 AND turns.ended_at IS NULL
    AND turns.gateway_id IS NOT DISTINCT FROM $21
    RETURNING turns.thread_id, turns.state, turns.discarded
), journalled AS (
    INSERT INTO journal (owner_id, turn_id, first, last, data)
    SELECT $1, $2, chunk.first, chunk.last, chunk.data
    FROM ended, unnest($24::bigint[], $25::bigint[], $26::bytea[]) AS chunk (first, last, data)
    ON CONFLICT DO NOTHING
), changed AS (
    UPDATE threads SET
        title = CASE WHEN $7 THEN $8 ELSE coalesce(title, $20) END,
        status = CASE WHEN $9 THEN $10 ELSE status END,
        allowed_image_domains = CASE WHEN $11 THEN $12 ELSE allowed_image_domains END,
        metadata = CASE WHEN $13 THEN $14 ELSE metadata END,
        updated_at = now(),
        last_seq = last_seq + cardinality($15::text[])
    WHERE owner_id = $1 AND id = (SELECT thread_id FROM ended WHERE NOT discarded)
    RETURNING id, title, created_at, status, allowed_image_domains, metadata, last_seq
), written AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, changed.id, entry.id, changed.last_seq - cardinality($15::text[]) + entry.number,
           entry.type, entry.hidden, $2, entry.created_at, entry.data
    FROM changed, unnest($15::text[], $16::text[], $17::boolean[], $18::timestamptz[], $19::json[])
        WITH ORDINALITY AS entry (id, type, hidden, created_at, data, number)
    ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE SET
        seq = CASE WHEN items.turn_id = $2 AND items.seq > coalesce(
            (SELECT context_seq FROM turns WHERE owner_id = $1 AND id = $2),
            (
                SELECT message.seq FROM items AS message
                WHERE message.owner_id = $1 AND message.thread_id = (SELECT changed.id FROM changed)
                AND message.id = (SELECT message_id FROM turns WHERE owner_id = $1 AND id = $2)
            ),
            0
        ) THEN excluded.seq ELSE items.seq END,
        type = excluded.type, hidden = excluded.hidden, turn_id = excluded.turn_id,
        created_at = excluded.created_at, data = excluded.data
)
SELECT id, title, created_at, status, allowed_image_domains, metadata, (SELECT state FROM ended) AS turn_state
FROM changed
"""


# Was this gateway declared dead? Then it was another one that ended the turn, or may have been.
DEAD = "SELECT dead FROM gateways WHERE id = $1"

# Remove items that a turn takes back.
REMOVE = "DELETE FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = ANY ($3::text[])"


async def finish(database: Database, owner: str, turn_id: str, outcome: FinishTurn) -> TurnFinished:
    """Write the whole outcome of a turn; a repeat changes nothing.

    Raises:
        InvalidRequest: An item is not one of the turn's thread.
        NotFound: There is no such turn, or its thread has been deleted.
        Conflict: It has ended in another state.
        LeaseLost: It is under another gateway's lease, or was until its end.
    """
    thread_id = outcome.items[0].get("thread_id") if outcome.items else None
    entries = items.entries_of(outcome.items, thread_id)
    removed = set(outcome.removed_item_ids).difference(entry.id for entry in entries)
    async with database.transaction(owner) if removed else database.session(owner) as session:
        row = await session.fetchrow(
            END,
            owner,
            turn_id,
            thread_id,
            outcome.state,
            None if outcome.usage is None else encode_json(outcome.usage),
            None if outcome.error is None else outcome.error.replace("\0", "\ufffd"),
            *threads.change_parameters(outcome.thread or UNCHANGED),
            *items.columns(entries),
            outcome.suggested_title,
            outcome.gateway_id,
            outcome.event_count,
            outcome.deserted,
            [chunk.first for chunk in outcome.journal],
            [chunk.last for chunk in outcome.journal],
            [chunk.data for chunk in outcome.journal],
        )
        if row is None:
            state, thread = await _not_ended(session, owner, turn_id, thread_id, outcome)
        else:
            state, thread = row["turn_state"], threads.thread_of(row)
            if removed:
                await session.execute(REMOVE, owner, thread.id, sorted(removed))
    return TurnFinished(turn_id=turn_id, state=state, thread=thread)


async def _not_ended(
    session: Session, owner: str, turn_id: str, thread_id: str | None, outcome: FinishTurn
) -> tuple[TurnState, ThreadMetadata]:
    """Say why a turn was not ended, or how it stands: ended in the same way, or interrupted."""
    turn = await record.load(session, owner, turn_id)
    if thread_id not in {None, turn.thread_id}:
        raise InvalidRequest(ELSEWHERE, field="$.items[0].thread_id")
    if turn.ended_at is None or await session.fetchval(DEAD, outcome.gateway_id):
        raise LeaseLost("The turn is under the lease of another gateway")
    if turn.state not in {outcome.state, "interrupted"}:
        raise Conflict(f"The turn has ended already: {turn.state}")
    return turn.state, await threads.get(session, owner, turn.thread_id)
