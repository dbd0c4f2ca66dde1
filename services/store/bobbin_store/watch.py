"""Watching: how turns stand that run elsewhere, and what changed in threads; one call for many readers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from bobbin_protocol.store.watch import TurnProgress, Watch, Watched, WatchedTurn
from bobbin_store import changes
from bobbin_store.database import EVERY_OWNER, Database, Row, Session
from bobbin_store.journal import chunks_of

# How turns stand, and the chunks of each behind what its reader has: at first one of each turn, then the next
# of each, until there is no more room ($4 bytes); of those for which there is none the numbers only.
PROGRESS = """
SELECT watched.number, turn.state, turn.event_count, chunk.first, chunk.last, CASE
    WHEN sum(length(chunk.data)) OVER (ORDER BY chunk.nth, watched.number) - length(chunk.data) < $4
    THEN chunk.data END AS data
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY
    AS watched (owner_id, turn_id, after, number)
LEFT JOIN LATERAL (
    SELECT state, CASE WHEN ended_at IS NOT NULL THEN coalesce(event_count, 0) END AS event_count FROM turns
    WHERE turns.owner_id = watched.owner_id AND turns.id = watched.turn_id
    LIMIT 1
) AS turn ON true
LEFT JOIN LATERAL (
    SELECT first, last, data, row_number() OVER (ORDER BY first) AS nth FROM journal
    WHERE journal.owner_id = watched.owner_id AND journal.turn_id = watched.turn_id AND first > watched.after
    ORDER BY first LIMIT $5
) AS chunk ON turn.state IS NOT NULL
ORDER BY watched.number, chunk.first
"""

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of chunks in one answer, but for the last of them."""
MOST_CHUNKS: Final = 200
"""Of one turn in one answer."""


async def look(database: Database, wanted: Watch) -> Watched:
    """Say how turns stand and what changed, in the order asked.

    Raises:
        InvalidRequest: A position is not one that the store gave.
    """
    async with database.session(EVERY_OWNER) as session:
        # In this order: of a turn that ended before something changed, the end is told with that change.
        changed = await changes.look(session, wanted.changes) if wanted.changes else []
        turns = await _progress(session, wanted.turns) if wanted.turns else []
    return Watched(turns=turns, changes=changed)


async def _progress(session: Session, watched: Sequence[WatchedTurn]) -> list[TurnProgress]:
    rows = await session.fetch(
        PROGRESS,
        [turn.owner_id for turn in watched],
        [turn.turn_id for turn in watched],
        [turn.after for turn in watched],
        MOST_BYTES,
        MOST_CHUNKS,
    )
    return [_turn(own) for own in changes.by_number(rows, len(watched))]


def _turn(rows: Sequence[Row]) -> TurnProgress:
    chunks = [row for row in rows if row["first"] is not None]
    there = list(takewhile(lambda row: row["data"] is not None, chunks))
    return TurnProgress(
        state=rows[0]["state"],
        event_count=rows[0]["event_count"],
        journal=chunks_of(there),
        more=len(there) < len(chunks) or len(chunks) == MOST_CHUNKS,
    )
