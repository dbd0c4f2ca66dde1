"""All data of one owner: handed out in full, or erased."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from bobbin_protocol.store.owners import (
    Erased,
    ExportedAttachment,
    ExportedFeedback,
    ExportedItem,
    ExportedThread,
    ExportedTurn,
    ExportLine,
)
from bobbin_protocol.wire import encode_json
from bobbin_store import attachments, feedback, items, threads
from bobbin_store.database import Database, Row, Session
from bobbin_store.turns import record

FETCH_ROWS = 100
"""Rows that wait in memory at most, per open cursor."""

CHUNK_BYTES = 64 * 1024
LONG_TIMEOUT_S = 600.0

# Let this transaction take its time: the reader of an export may be slow, an owner may have much to erase.
PATIENCE = """
SELECT set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true)
"""

# All threads, in the order they were made.
THREADS = """
SELECT id, title, created_at, status, allowed_image_domains, metadata
FROM threads WHERE owner_id = $1 ORDER BY created_at, id
"""

# All items of a thread in their order, hidden ones too.
ITEMS = "SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 ORDER BY seq"

# All turns of a thread in the order they began.
TURNS = """
SELECT id, thread_id, state, started_at, ended_at, usage, error, event_count, cancel_requested
FROM turns WHERE owner_id = $1 AND thread_id = $2 ORDER BY started_at, id
"""

# All attachments, those in no thread too.
ATTACHMENTS = "SELECT thread_id, data FROM attachments WHERE owner_id = $1 ORDER BY id"


async def export(database: Database, owner: str) -> AsyncGenerator[bytes]:
    """Give everything of an owner as lines of JSON, many to a chunk, as it stands at this moment."""
    chunk = bytearray()
    async with database.transaction(owner, snapshot=True) as session:
        await session.execute(PATIENCE, f"{LONG_TIMEOUT_S:.0f}s")
        async with aclosing(_lines(session, owner)) as lines:
            async for line in lines:
                chunk += encode_json(line) + b"\n"
                if len(chunk) >= CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
    yield bytes(chunk)


async def _lines(session: Session, owner: str) -> AsyncGenerator[ExportLine]:
    async for row in _rows(session, THREADS, owner):
        thread = threads.thread_of(row)
        yield ExportedThread(thread=thread)
        async for entry in _rows(session, ITEMS, owner, thread.id):
            yield ExportedItem(item=items.decode_item(entry["data"]))
        async for entry in _rows(session, TURNS, owner, thread.id):
            yield ExportedTurn(turn=record.record_of(entry))
        async for entry in _rows(session, feedback.LIST, owner, thread.id):
            yield ExportedFeedback(feedback=feedback.feedback_of(entry))
    async for row in _rows(session, ATTACHMENTS, owner):
        yield ExportedAttachment(attachment=attachments.attachment_of(row))


def _rows(session: Session, statement: str, *arguments: str) -> AsyncIterable[Row]:
    return session.cursor(statement, *arguments, prefetch=FETCH_ROWS)


# Keep turns from writing while we erase; in the order of ids, so that two erasures never wait for each other.
LOCK_THREADS = """
SELECT count(*) FROM (SELECT FROM threads WHERE owner_id = $1 ORDER BY id FOR UPDATE) AS locked
"""

# Delete each kind on its own, to be able to say how many there were.
ERASE_FEEDBACK = """
WITH gone AS (DELETE FROM feedback WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
ERASE_ITEMS = """
WITH gone AS (DELETE FROM items WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
ERASE_TURNS = """
WITH gone AS (DELETE FROM turns WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
ERASE_ATTACHMENTS = """
WITH gone AS (DELETE FROM attachments WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
ERASE_THREADS = """
WITH gone AS (DELETE FROM threads WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
# What would be gone in a while: nobody is told how much it was.
ERASE_JOURNAL = """
WITH gone AS (DELETE FROM journal WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""
ERASE_CHANGES = """
WITH gone AS (DELETE FROM changes WHERE owner_id = $1 RETURNING 1) SELECT count(*) FROM gone
"""


async def erase(database: Database, owner: str) -> Erased:
    """Delete everything of an owner, all or nothing, and say how much it was."""
    async with database.transaction(owner) as session:
        await session.execute(PATIENCE, f"{LONG_TIMEOUT_S:.0f}s")

        async def count(statement: str) -> int:
            return int(await session.fetchval(statement, owner, timeout=LONG_TIMEOUT_S))

        await count(LOCK_THREADS)
        await count(ERASE_JOURNAL)
        await count(ERASE_CHANGES)
        return Erased(
            feedback=await count(ERASE_FEEDBACK),
            items=await count(ERASE_ITEMS),
            turns=await count(ERASE_TURNS),
            attachments=await count(ERASE_ATTACHMENTS),
            threads=await count(ERASE_THREADS),
        )
