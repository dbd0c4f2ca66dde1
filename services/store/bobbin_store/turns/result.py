"""What became of a turn, for whom its events have come too late."""

from __future__ import annotations

from bobbin_protocol.store.turns import TurnResult
from bobbin_store import items, threads
from bobbin_store.database import Database
from bobbin_store.errors import NotFound
from bobbin_store.turns import record

# A turn's thread and the visible items of the turn, oldest first. They stand behind its message, which an
# earlier turn may have brought (a retry); those of a turn without one anywhere: it may have replaced some.
RESULT = """
WITH turn AS MATERIALIZED (
    SELECT thread_id, message_id FROM turns WHERE owner_id = $1 AND id = $2
), message AS MATERIALIZED (
    SELECT seq FROM items
    WHERE owner_id = $1 AND thread_id = (SELECT thread_id FROM turn) AND id = (SELECT message_id FROM turn)
)
SELECT id, title, created_at, status, allowed_image_domains, metadata,
    EXISTS (SELECT FROM message WHERE seq = (
        SELECT items.seq FROM items WHERE items.owner_id = $1 AND items.thread_id = threads.id
        ORDER BY items.seq LIMIT 1
    )) AS created_thread,
    ARRAY (
        SELECT items.data FROM items WHERE items.owner_id = $1 AND items.thread_id = threads.id
        AND items.seq >= coalesce((SELECT seq FROM message), 0)
        AND (items.turn_id = $2 OR items.id = (SELECT message_id FROM turn)) AND NOT items.hidden
        ORDER BY items.seq
    ) AS items
FROM threads WHERE owner_id = $1 AND id = (SELECT thread_id FROM turn)
"""


async def get(database: Database, owner: str, turn_id: str) -> TurnResult:
    """Give a turn, its thread and its items, as they stand at one moment.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.transaction(owner, snapshot=True) as session:
        turn = await record.load(session, owner, turn_id)
        row = await session.fetchrow(RESULT, owner, turn_id)
    if row is None:
        raise NotFound("There is no such turn", field="turn_id")
    return TurnResult(
        turn=turn,
        thread=threads.thread_of(row),
        created_thread=row["created_thread"],
        items=items.documents(row["items"]),
    )
