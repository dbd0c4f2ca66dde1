"""The journal: what all turns of a gateway produce, written in one statement; and how far a turn got.

The lease is what keeps a journal true: only the gateway that has a turn writes about it. A write locks its
gateway's row against whoever would declare that gateway dead, or release turns of it, in the same moment; so
the row costs one lock, however many turns there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bobbin_protocol.store.journal import JournalChunk, JournalWritten, WriteJournal
from bobbin_store.database import EVERY_OWNER, Database, Row, Session
from bobbin_store.errors import InvalidRequest

# Write chunks of the turns that are under this gateway's lease, with their checkpoints. A chunk that is there
# already, and its checkpoint, stay as they are. A chunk without events only brings its checkpoint, unless
# what comes after it has come before it.
#
# A statement sees turns as they were when it began. Should it have waited for the gateway's row (to be found
# alive, yet changed meanwhile), the turns may be another's by now: nothing is written then, and `current` is
# false.
WRITE = """
WITH gateway AS MATERIALIZED (
    SELECT ctid AS version FROM gateways WHERE id = $1 AND NOT dead FOR SHARE
), lease AS MATERIALIZED (
    SELECT FROM gateway WHERE version = (SELECT ctid FROM gateways WHERE id = $1)
), entry AS MATERIALIZED (
    SELECT entry.owner_id, entry.turn_id, entry.first, entry.last, entry.data, entry.checkpoint, turn.stop
    FROM lease, unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
        AS entry (owner_id, turn_id, first, last, data, checkpoint)
    CROSS JOIN LATERAL (
        SELECT gateway_id, ended_at, cancel_requested OR state <> 'running' AS stop FROM turns
        WHERE turns.owner_id = entry.owner_id AND turns.id = entry.turn_id
        LIMIT 1
    ) AS turn
    WHERE turn.gateway_id = $1 AND turn.ended_at IS NULL
), written AS (
    INSERT INTO journal (slot, owner_id, turn_id, first, last, data)
    SELECT (SELECT journal_slot()), owner_id, turn_id, first, last, data FROM entry WHERE last >= first
    ON CONFLICT DO NOTHING
    RETURNING owner_id, turn_id, first
), marked AS (
    UPDATE turns SET checkpoint = entry.checkpoint FROM entry
    WHERE entry.checkpoint IS NOT NULL AND turns.owner_id = entry.owner_id AND turns.id = entry.turn_id
    AND CASE WHEN entry.last >= entry.first
        THEN (entry.owner_id, entry.turn_id, entry.first) IN (SELECT owner_id, turn_id, first FROM written)
        ELSE NOT EXISTS (
            SELECT FROM journal
            WHERE journal.owner_id = entry.owner_id AND journal.turn_id = entry.turn_id
            AND journal.first >= entry.first
        )
    END
)
SELECT EXISTS (SELECT FROM lease) OR NOT EXISTS (SELECT FROM gateway) AS current,
    ARRAY (SELECT turn_id FROM entry) AS written, ARRAY (SELECT turn_id FROM entry WHERE stop) AS stop
"""


async def write(database: Database, gateway_id: str, wanted: WriteJournal) -> JournalWritten:
    """Write what the turns under a gateway's lease produced; a repeat changes nothing.

    Raises:
        InvalidRequest: A chunk ends before it begins.
    """
    columns = _columns(wanted)
    async with database.session(EVERY_OWNER) as session:
        while True:
            row = await session.fetchrow(WRITE, gateway_id, *columns)
            assert row is not None  # noqa: S101 (a SELECT without FROM has one row)
            if row["current"]:
                return JournalWritten(written=_distinct(row["written"]), stop=_distinct(row["stop"]))


def _columns(wanted: WriteJournal) -> list[list[Any]]:
    entries = wanted.entries
    for index, entry in enumerate(entries):
        empty = not entry.chunk.data
        if entry.chunk.last < entry.chunk.first - empty or (empty and entry.chunk.last >= entry.chunk.first):
            raise InvalidRequest("The chunk ends before it begins", field=f"$.entries[{index}].chunk.last")
    # Where a turn is there twice its last checkpoint counts: a statement changes a row once only.
    last = {(entry.owner_id, entry.turn_id): entry for entry in entries if entry.checkpoint is not None}
    return [
        [entry.owner_id for entry in entries],
        [entry.turn_id for entry in entries],
        [entry.chunk.first for entry in entries],
        [entry.chunk.last for entry in entries],
        [entry.chunk.data for entry in entries],
        [
            entry.checkpoint if last.get((entry.owner_id, entry.turn_id)) is entry else None
            for entry in entries
        ],
    ]


def _distinct(turn_ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(turn_ids))


# All that a turn has in the journal.
READ = "SELECT first, last, data FROM journal WHERE owner_id = $1 AND turn_id = $2 ORDER BY first"


async def read(session: Session, owner: str, turn_id: str) -> list[JournalChunk]:
    """Give all that the journal has of a turn, in order."""
    return chunks_of(await session.fetch(READ, owner, turn_id))


def chunks_of(rows: Iterable[Row]) -> list[JournalChunk]:
    """Make chunks of rows in their order. One that was written again in another slot is taken once."""
    chunks: list[JournalChunk] = []
    for row in rows:
        if not chunks or row["first"] > chunks[-1].first:
            chunks.append(JournalChunk(first=row["first"], last=row["last"], data=row["data"]))
    return chunks
