"""Asking for the end of a turn; noting that nobody reads it any more, or someone again."""

from __future__ import annotations

from bobbin_protocol.store.turns import CancelTurn, DesertTurn, JoinTurn, TurnRecord
from bobbin_store.database import Database
from bobbin_store.turns import record

# Ask for a turn's end; if $3, only while it is deserted.
CANCEL = """
UPDATE turns SET cancel_requested = true
WHERE owner_id = $1 AND id = $2 AND ended_at IS NULL
AND NOT ($3 AND (deserted_at IS NULL OR joined_by IS NOT NULL))
RETURNING id, thread_id, state, started_at, ended_at, usage, error, event_count, cancel_requested
"""

# Note that a turn has lost its last reader, unless someone has joined it since the last one did ($3).
DESERT = """
UPDATE turns SET deserted_at = now(), joined_by = NULL
WHERE owner_id = $1 AND id = $2 AND ended_at IS NULL AND joined_by IS NOT DISTINCT FROM $3
RETURNING id, thread_id, state, started_at, ended_at, usage, error, event_count, cancel_requested
"""

# Note that someone reads a turn.
JOIN = """
UPDATE turns SET joined_by = $3 WHERE owner_id = $1 AND id = $2
RETURNING id, thread_id, state, started_at, ended_at, usage, error, event_count, cancel_requested
"""


async def cancel(database: Database, owner: str, turn_id: str, wanted: CancelTurn) -> TurnRecord:
    """Ask whoever runs the turn to stop it; nothing changes after its end.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.session(owner) as session:
        row = await session.fetchrow(CANCEL, owner, turn_id, wanted.only_if_deserted)
        return await record.load(session, owner, turn_id) if row is None else record.record_of(row)


async def desert(database: Database, owner: str, turn_id: str, wanted: DesertTurn) -> TurnRecord:
    """Note that the turn has lost its last reader, unless it has another; nothing changes after its end.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.session(owner) as session:
        row = await session.fetchrow(DESERT, owner, turn_id, wanted.reader_id)
        return await record.load(session, owner, turn_id) if row is None else record.record_of(row)


async def join(database: Database, owner: str, turn_id: str, wanted: JoinTurn) -> TurnRecord:
    """Note that someone reads the turn: it is deserted no more.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.session(owner) as session:
        row = await session.fetchrow(JOIN, owner, turn_id, wanted.reader_id)
        return await record.load(session, owner, turn_id) if row is None else record.record_of(row)
