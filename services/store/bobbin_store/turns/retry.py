"""Answering a message again: what stands behind it is removed, and a new turn begins."""

from __future__ import annotations

from msgspec.structs import replace

from bobbin_protocol.events import ThreadItemRemovedEvent
from bobbin_protocol.store.turns import BeginTurn, RetryAfterItem, TurnBegun
from bobbin_protocol.wire import encode_json
from bobbin_store import threads
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import Conflict, InvalidRequest, NotFound, StoreError, TurnRunning
from bobbin_store.turns import record
from bobbin_store.turns.join import Earlier, opening

# Open a turn unless it came before ($3, $7 to $9), or another runs and is not to be superseded ($12); end the
# one that runs, whose items have lost their place; remove all behind the message; give what is left.
OPEN_AND_CUT = """
WITH earlier AS (
    SELECT id FROM turns WHERE owner_id = $1 AND id = $3
    UNION ALL
    SELECT id FROM turns WHERE owner_id = $1 AND idempotency_key = $7
    UNION ALL (
        SELECT id FROM turns WHERE owner_id = $1 AND fingerprint = $8 AND deserted_at > now() - $9::interval
        ORDER BY deserted_at LIMIT 1
    )
), running AS (
    SELECT id FROM turns WHERE owner_id = $1 AND thread_id = $2 AND state = 'running'
), question AS MATERIALIZED (
    SELECT seq, type FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $10
), open AS MATERIALIZED (
    SELECT seq FROM question
    WHERE type = 'user_message' AND NOT EXISTS (SELECT FROM earlier)
    AND NOT ($12 AND EXISTS (SELECT FROM running))
), superseded AS (
    UPDATE turns SET state = 'interrupted', discarded = true FROM open
    WHERE owner_id = $1 AND thread_id = $2 AND state = 'running'
    RETURNING turns.id
), opened AS (
    INSERT INTO turns (
        owner_id, id, thread_id, message_id, state, started_at, gateway_id, idempotency_key, fingerprint
    )
    SELECT $1, $3, $2, $10, 'running', clock_timestamp(), $4, $5, $6
    FROM open, (SELECT count(*) FROM superseded) AS before_it
    RETURNING id
), thread AS (
    UPDATE threads SET updated_at = now() FROM opened WHERE threads.owner_id = $1 AND threads.id = $2
), removed AS (
    DELETE FROM items
    WHERE owner_id = $1 AND thread_id = $2 AND EXISTS (SELECT FROM opened) AND id = ANY (ARRAY (
        SELECT id FROM items WHERE owner_id = $1 AND thread_id = $2 AND seq > (SELECT seq FROM open)
        ORDER BY seq
    ))
    RETURNING id, hidden
)
SELECT EXISTS (SELECT FROM opened) AS opened, EXISTS (SELECT FROM earlier) AS earlier,
    (SELECT id FROM running) AS running, (SELECT type FROM question) AS type,
    ARRAY (SELECT id FROM removed WHERE NOT hidden) AS removed,
    ARRAY (
        SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 AND seq <= (SELECT seq FROM open)
        ORDER BY seq DESC LIMIT $11
    ) AS history
"""

# Tell those who watch the thread, in this order.
TELL = """
INSERT INTO changes (owner_id, thread_id, turn_id, event)
SELECT $1, $2, told.turn_id, told.event FROM unnest($3::text[], $4::bytea[]) AS told (turn_id, event)
"""


async def retry(database: Database, owner: str, wanted: BeginTurn, item_id: str, *, hold: bool) -> TurnBegun:
    """Remove what stands behind a message and answer it in a new turn.

    Raises:
        InvalidRequest: The item is no user message.
        NotFound: There is no such thread or item.
        ThreadLocked, ThreadClosed: The thread takes no messages.
        TurnRunning: Another turn runs there, and must not be superseded.
        Conflict: The turn's id is taken, or the request may have come before (`hold`).
    """
    async with database.transaction(owner) as session:
        return await _retry(session, owner, wanted, item_id, hold=hold)


async def _retry(session: Session, owner: str, wanted: BeginTurn, item_id: str, *, hold: bool) -> TurnBegun:
    thread = await threads.lock(session, owner, wanted.thread_id)
    threads.check_open(thread)
    row = await session.fetchrow(
        OPEN_AND_CUT,
        *opening(owner, wanted, hold=hold),
        item_id,
        wanted.history_limit,
        wanted.if_running == "refuse",
    )
    assert row is not None  # noqa: S101 (a SELECT without FROM has one row)
    if not row["opened"]:
        raise _refusal(row)
    events = [encode_json(ThreadItemRemovedEvent(item_id=removed)) for removed in row["removed"]]
    await session.execute(TELL, owner, thread.id, [*(None for _ in events), wanted.turn_id], [*events, None])
    return record.begun(wanted.turn_id, thread, row["history"][::-1])


def _refusal(row: Row) -> StoreError:
    if row["earlier"]:
        return Conflict("A turn with this id exists already")
    if row["type"] is None:
        return NotFound("There is no such item in the thread", field="$.input.item_id")
    if row["type"] != "user_message":
        return InvalidRequest("Only a user message can be answered again", field="$.input.item_id")
    return TurnRunning(row["running"])


# Make sure that a cancelled turn is answered again once only.
TAKE = """
UPDATE turns SET joined_by = $3 WHERE owner_id = $1 AND id = $2 AND joined_by IS NULL
AND (state = 'cancelled' OR cancel_requested AND state = 'running')
RETURNING id
"""


async def answer_again(
    database: Database, owner: str, wanted: BeginTurn, earlier: Earlier, message_id: str
) -> TurnBegun | None:
    """Answer the message of a cancelled turn in a new turn; None if the message is gone, or it was done.

    Raises:
        ThreadLocked, ThreadClosed: The thread takes no messages.
    """
    again = replace(
        wanted,
        thread_id=earlier.thread_id,
        input=RetryAfterItem(item_id=message_id),
        if_running="supersede",
    )
    try:
        async with database.transaction(owner) as session:
            await threads.lock(session, owner, earlier.thread_id)
            if await session.fetchval(TAKE, owner, earlier.turn_id, wanted.turn_id) is None:
                return None
            return await _retry(session, owner, again, message_id, hold=False)
    except NotFound:
        return None
