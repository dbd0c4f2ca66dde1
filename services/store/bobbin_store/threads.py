"""Threads: their rows, and what may be done to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

from bobbin_protocol.events import ThreadCreatedEvent, ThreadUpdatedEvent
from bobbin_protocol.feed import ThreadDeletedEvent
from bobbin_protocol.ids import new_id
from bobbin_protocol.pages import Page
from bobbin_protocol.store.threads import NewThread, ThreadChange
from bobbin_protocol.threads import (
    ActiveStatus,
    ClosedStatus,
    LockedStatus,
    ThreadMetadata,
    ThreadStatus,
    thread_for_client,
)
from bobbin_protocol.wire import encode_json, utc
from bobbin_store import changes
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import InvalidRequest, NotFound, ThreadClosed, ThreadLocked
from bobbin_store.pages import PageRequest, cut, unknown_cursor

decode_status = msgspec.json.Decoder[ThreadStatus](ThreadStatus).decode
decode_domains = msgspec.json.Decoder(list[str]).decode
decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode

BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)
AFTER_ALL: Final = datetime.max.replace(tzinfo=UTC)
"""asyncpg sends these two as PostgreSQL's -infinity and infinity."""

DELETED: Final = encode_json(ThreadDeletedEvent())

AFTER_ALL_IDS: Final = "~"
"""Greater than every id: "~" sorts behind all that an id may hold."""

# Make a thread; its time is now unless given.
CREATE = """
INSERT INTO threads (owner_id, id, created_at, title, status, allowed_image_domains, metadata)
VALUES ($1, $2, coalesce($3, now()), $4, $5, $6, $7)
RETURNING id, title, created_at, status, allowed_image_domains, metadata
"""


async def create(database: Database, owner: str, wanted: NewThread) -> ThreadMetadata:
    """Make a thread.

    Raises:
        Conflict: The id is taken.
    """
    created_at = None if wanted.created_at is None else storable(wanted.created_at)
    async with database.transaction(owner) as session:
        row = await session.fetchrow(
            CREATE,
            owner,
            wanted.id or new_id("thread"),
            created_at,
            wanted.title,
            encode_json(wanted.status or ActiveStatus()),
            _optional(wanted.allowed_image_domains),
            encode_json(wanted.metadata),
        )
        assert row is not None  # noqa: S101 (an INSERT without a conflict clause returns its row or raises)
        thread = thread_of(row)
        event = ThreadCreatedEvent(thread=thread_for_client(thread))
        await changes.tell(session, owner, thread.id, event)
    return thread


# One thread.
GET = """
SELECT id, title, created_at, status, allowed_image_domains, metadata
FROM threads WHERE owner_id = $1 AND id = $2
"""


async def get(session: Session, owner: str, thread_id: str) -> ThreadMetadata:
    row = await session.fetchrow(GET, owner, thread_id)
    if row is None:
        raise not_found()
    return thread_of(row)


# One thread, kept from other writers until the transaction ends. Whatever changes several rows of it takes
# this lock first, so that no two wait for each other.
LOCK = """
SELECT id, title, created_at, status, allowed_image_domains, metadata
FROM threads WHERE owner_id = $1 AND id = $2 FOR NO KEY UPDATE
"""


async def lock(session: Session, owner: str, thread_id: str) -> ThreadMetadata:
    row = await session.fetchrow(LOCK, owner, thread_id)
    if row is None:
        raise not_found()
    return thread_of(row)


# Where a thread stands in the order of threads.
POSITION = "SELECT created_at FROM threads WHERE owner_id = $1 AND id = $2"

# A page of threads, newest first.
PAGE_DESC = """
SELECT id, title, created_at, status, allowed_image_domains, metadata
FROM threads WHERE owner_id = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4
"""

# A page of threads, oldest first.
PAGE_ASC = """
SELECT id, title, created_at, status, allowed_image_domains, metadata
FROM threads WHERE owner_id = $1 AND (created_at, id) > ($2, $3)
ORDER BY created_at, id LIMIT $4
"""


async def page(database: Database, owner: str, wanted: PageRequest) -> Page[ThreadMetadata]:
    """List threads by the time they were made.

    Raises:
        InvalidRequest: `after` is no thread of this owner.
    """
    if wanted.order == "desc":
        statement, moment, thread_id = PAGE_DESC, AFTER_ALL, AFTER_ALL_IDS
    else:
        statement, moment, thread_id = PAGE_ASC, BEFORE_ALL, ""
    async with database.session(owner) as session:
        if wanted.after is not None:
            thread_id = wanted.after
            moment = await session.fetchval(POSITION, owner, thread_id)
            if moment is None:
                raise unknown_cursor()
        rows = await session.fetch(statement, owner, moment, thread_id, wanted.size + 1)
    return cut([thread_of(row) for row in rows], [row["id"] for row in rows], wanted.size)


# Change a thread: each pair of parameters says whether to, and into what.
CHANGE = """
UPDATE threads SET
    title = CASE WHEN $3 THEN $4 ELSE title END,
    status = CASE WHEN $5 THEN $6 ELSE status END,
    allowed_image_domains = CASE WHEN $7 THEN $8 ELSE allowed_image_domains END,
    metadata = CASE WHEN $9 THEN $10 ELSE metadata END,
    updated_at = now()
WHERE owner_id = $1 AND id = $2
RETURNING id, title, created_at, status, allowed_image_domains, metadata
"""


async def change(database: Database, owner: str, thread_id: str, wanted: ThreadChange) -> ThreadMetadata:
    """Change the fields that are given.

    Raises:
        NotFound: There is no such thread.
    """
    async with database.transaction(owner) as session:
        row = await session.fetchrow(CHANGE, owner, thread_id, *change_parameters(wanted))
        if row is None:
            raise not_found()
        thread = thread_of(row)
        event = ThreadUpdatedEvent(thread=thread_for_client(thread))
        await changes.tell(session, owner, thread_id, event)
    return thread


def change_parameters(wanted: ThreadChange) -> tuple[object, ...]:
    """Give what CHANGE takes: for each field whether to change it, and into what."""
    title, status = wanted.title, wanted.status
    domains, metadata = wanted.allowed_image_domains, wanted.metadata
    return (
        title is not UNSET,
        None if title is UNSET else title,
        status is not UNSET,
        None if status is UNSET else encode_json(status),
        domains is not UNSET,
        None if domains is UNSET else _optional(domains),
        metadata is not UNSET,
        None if metadata is UNSET else encode_json(metadata),
    )


# Remove a thread; its items, turns, attachments and feedback go with it, and the journal of its turns.
DELETE = """
WITH recent AS MATERIALIZED (
    SELECT id FROM turns WHERE owner_id = $1 AND thread_id = $2 AND started_at > now() - interval '1 hour'
), forgotten AS (
    DELETE FROM journal USING recent WHERE journal.owner_id = $1 AND journal.turn_id = recent.id
), gone AS (
    DELETE FROM threads WHERE owner_id = $1 AND id = $2 RETURNING id
), told AS (
    INSERT INTO changes (owner_id, thread_id, event) SELECT $1, id, $3 FROM gone
)
SELECT id FROM gone
"""


async def delete(database: Database, owner: str, thread_id: str) -> None:
    """Remove a thread and everything in it.

    Raises:
        NotFound: There is no such thread.
    """
    async with database.session(owner) as session:
        if await session.fetchval(DELETE, owner, thread_id, DELETED) is None:
            raise not_found()


def thread_of(row: Row) -> ThreadMetadata:
    domains = row["allowed_image_domains"]
    return ThreadMetadata(
        id=row["id"],
        title=row["title"],
        created_at=row["created_at"],
        status=decode_status(row["status"]),
        allowed_image_domains=None if domains is None else decode_domains(domains),
        metadata=decode_metadata(row["metadata"]),
    )


def check_open(thread: ThreadMetadata) -> None:
    """Let messages into an active thread only.

    Raises:
        ThreadLocked, ThreadClosed: It takes none.
    """
    match thread.status:
        case LockedStatus():
            raise ThreadLocked("This thread is locked")
        case ClosedStatus():
            raise ThreadClosed("This thread is closed")
        case ActiveStatus():
            return


def storable(moment: datetime) -> datetime:
    """Give a caller's time in UTC."""
    try:
        return utc(moment)
    except ValueError as error:
        raise InvalidRequest(str(error), field="$.created_at") from error


def not_found() -> NotFound:
    return NotFound("There is no such thread", field="thread_id")


def _optional(value: Any) -> bytes | None:
    return None if value is None else encode_json(value)
