"""Items: the entries of a thread, kept as the JSON they came as, in an order that the database gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from bobbin_protocol.events import ThreadItemRemovedEvent
from bobbin_protocol.ids import Id
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, StoredItem, thread_item_of
from bobbin_protocol.store.threads import ItemPage
from bobbin_protocol.wire import encode_json
from bobbin_store import changes, threads
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import InvalidRequest, NotFound
from bobbin_store.pages import PageRequest, cut, unknown_cursor

LAST_SEQ: Final = 2**63 - 1

decode_items = msgspec.json.Decoder(list[StoredItem]).decode
decode_item = msgspec.json.Decoder(StoredItem).decode


class Entry(NamedTuple):
    """An item as its row holds it."""

    id: str
    type: str
    hidden: bool
    created_at: datetime
    data: bytes


def entry_of(item: StoredItem, thread_id: Any, *, field: str = "$") -> Entry:
    """Check a caller's item and make a row of it, fields unknown to us included.

    Raises:
        InvalidRequest: It is no item, or says that it is in another thread.
    """
    try:
        typed = thread_item_of(item)
        msgspec.convert(typed.id, Id)
        data = encode_json(item)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(str(error), field=field) from error
    if typed.thread_id != thread_id:
        raise InvalidRequest("The item says that it is in another thread", field=f"{field}.thread_id")
    kind: str = item["type"]
    return Entry(typed.id, kind, kind in HIDDEN_ITEM_TYPES, typed.created_at, data)


def entries_of(items: Iterable[StoredItem], thread_id: Any) -> list[Entry]:
    """Check a caller's items.

    Raises:
        InvalidRequest: One is wrong, or an id is there twice.
    """
    entries = [entry_of(item, thread_id, field=f"$.items[{index}]") for index, item in enumerate(items)]
    if len({entry.id for entry in entries}) < len(entries):
        raise InvalidRequest("The same item id is there twice", field="$.items")
    return entries


def columns(entries: Sequence[Entry]) -> list[list[Any]]:
    """Turn rows into columns, the way a statement takes many at once."""
    return [[entry[index] for entry in entries] for index in range(len(Entry._fields))]


def documents_of(rows: Sequence[Row]) -> list[StoredItem]:
    """Decode the `data` of all rows in one go."""
    return documents([row["data"] for row in rows])


def documents(data: Sequence[bytes]) -> list[StoredItem]:
    return decode_items(b"[" + b",".join(data) + b"]")


# Append an item: the thread's counter gives its seq. Tell of it, if $8 says how.
ADD = """
WITH thread AS (
    UPDATE threads SET last_seq = last_seq + 1, updated_at = now()
    WHERE owner_id = $1 AND id = $2 RETURNING last_seq
), told AS (
    INSERT INTO changes (owner_id, thread_id, event) SELECT $1, $2, $8 FROM thread WHERE $8::bytea IS NOT NULL
)
INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
SELECT $1, $2, $3, last_seq, $4, $5, $6, $7 FROM thread
RETURNING seq
"""

# The same; an item with this id that is there already is replaced where it stands. If that one could be seen,
# it is $9 that tells of it.
PUT = """
WITH thread AS (
    UPDATE threads SET last_seq = last_seq + 1, updated_at = now()
    WHERE owner_id = $1 AND id = $2 RETURNING last_seq
), seen AS (
    SELECT FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3 AND NOT hidden
), told AS (
    INSERT INTO changes (owner_id, thread_id, event)
    SELECT $1, $2, event FROM thread, LATERAL (
        SELECT CASE WHEN EXISTS (SELECT FROM seen) THEN $9::bytea ELSE $8::bytea END AS event
    ) AS what
    WHERE event IS NOT NULL
)
INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
SELECT $1, $2, $3, last_seq, $4, $5, $6, $7 FROM thread
ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
SET type = excluded.type, hidden = excluded.hidden, created_at = excluded.created_at, data = excluded.data
RETURNING seq
"""


async def add(database: Database, owner: str, thread_id: str, item: StoredItem) -> StoredItem:
    """Append an item.

    Raises:
        InvalidRequest: It is no item of this thread.
        NotFound: There is no such thread.
        Conflict: The id is taken.
    """
    entry = entry_of(item, thread_id)
    await _write(database, ADD, owner, thread_id, entry, _came(item, entry))
    return item


async def put(database: Database, owner: str, thread_id: str, item_id: str, item: StoredItem) -> StoredItem:
    """Replace an item where it stands, or append it if it is not there.

    Raises:
        InvalidRequest: It is no item of this thread, or has another id.
        NotFound: There is no such thread.
    """
    entry = entry_of(item, thread_id)
    if entry.id != item_id:
        raise InvalidRequest("The item has another id than the path", field="$.id")
    now_hidden = ThreadItemRemovedEvent(item_id=item_id)
    changed = encode_json(now_hidden if entry.hidden else changes.replaced(item))
    await _write(database, PUT, owner, thread_id, entry, _came(item, entry), changed)
    return item


def _came(item: StoredItem, entry: Entry) -> bytes | None:
    return None if entry.hidden else encode_json(changes.done(item))


async def _write(
    database: Database, statement: str, owner: str, thread_id: str, entry: Entry, *events: bytes | None
) -> None:
    async with database.session(owner) as session:
        if await session.fetchval(statement, owner, thread_id, *entry, *events) is None:
            raise threads.not_found()


# One item.
GET = "SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"


async def get(database: Database, owner: str, thread_id: str, item_id: str) -> StoredItem:
    """Give an item, hidden or not.

    Raises:
        NotFound: There is no such item.
    """
    async with database.session(owner) as session:
        data = await session.fetchval(GET, owner, thread_id, item_id)
    if data is None:
        raise not_found()
    return decode_item(data)


# Where an item stands in its thread.
POSITION = "SELECT seq FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"

# A page of items, newest first; hidden ones too if $5.
PAGE_DESC = """
SELECT id, data, (
    SELECT turns.id FROM turns
    WHERE turns.owner_id = $1 AND turns.thread_id = $2 AND turns.state = 'running'
) AS running_turn_id
FROM items
WHERE owner_id = $1 AND thread_id = $2 AND seq < $3 AND (NOT hidden OR $5)
ORDER BY seq DESC LIMIT $4
"""

# A page of items, oldest first; hidden ones too if $5.
PAGE_ASC = """
SELECT id, data, (
    SELECT turns.id FROM turns
    WHERE turns.owner_id = $1 AND turns.thread_id = $2 AND turns.state = 'running'
) AS running_turn_id
FROM items
WHERE owner_id = $1 AND thread_id = $2 AND seq > $3 AND (NOT hidden OR $5)
ORDER BY seq LIMIT $4
"""

# What is left to say of a page without items.
EMPTY_PAGE = """
SELECT (SELECT id FROM turns WHERE owner_id = $1 AND thread_id = $2 AND state = 'running') AS running_turn_id
FROM threads WHERE owner_id = $1 AND id = $2
"""


async def page(
    session: Session, owner: str, thread_id: str, wanted: PageRequest, *, hidden: bool = False
) -> ItemPage:
    """List the items of a thread, and name the turn that runs there.

    Raises:
        InvalidRequest: `after` is no item of the thread.
        NotFound: There is no such thread.
    """
    statement, start = (PAGE_DESC, LAST_SEQ) if wanted.order == "desc" else (PAGE_ASC, 0)
    if wanted.after is not None:
        start = await session.fetchval(POSITION, owner, thread_id, wanted.after)
    rows = await session.fetch(statement, owner, thread_id, start, wanted.size + 1, hidden)
    thread = rows[0] if rows else await session.fetchrow(EMPTY_PAGE, owner, thread_id)
    if thread is None:
        raise threads.not_found()
    if start is None:
        raise unknown_cursor()
    part = cut(documents_of(rows), [row["id"] for row in rows], wanted.size)
    return ItemPage(
        data=part.data,
        has_more=part.has_more,
        after=part.after,
        running_turn_id=thread["running_turn_id"],
    )


# Remove one item, and tell of it ($4) if it could be seen.
DELETE = """
WITH gone AS (
    DELETE FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3 RETURNING id, hidden
), told AS (
    INSERT INTO changes (owner_id, thread_id, event) SELECT $1, $2, $4 FROM gone WHERE NOT hidden
)
SELECT id FROM gone
"""


async def delete(database: Database, owner: str, thread_id: str, item_id: str) -> None:
    """Remove an item and the feedback on it.

    Raises:
        NotFound: There is no such item.
    """
    async with database.session(owner) as session:
        event = encode_json(ThreadItemRemovedEvent(item_id=item_id))
        if await session.fetchval(DELETE, owner, thread_id, item_id, event) is None:
            raise not_found()


# Remove everything after a place in the thread. The thread's row changes, for a begin that waits to notice.
CUT = """
WITH thread AS (
    UPDATE threads SET updated_at = now() WHERE owner_id = $1 AND id = $2
)
DELETE FROM items WHERE owner_id = $1 AND thread_id = $2 AND seq > $3 RETURNING id, seq, hidden
"""


async def cut_after(database: Database, owner: str, thread_id: str, item_id: str) -> list[str]:
    """Remove every item after this one, hidden ones too, and give their ids in the order they stood in.

    Raises:
        NotFound: There is no such thread or item.
    """
    async with database.transaction(owner) as session:
        await threads.lock(session, owner, thread_id)
        seq = await session.fetchval(POSITION, owner, thread_id, item_id)
        if seq is None:
            raise not_found()
        rows = sorted(await session.fetch(CUT, owner, thread_id, seq), key=lambda row: row["seq"])
        events = [ThreadItemRemovedEvent(item_id=row["id"]) for row in rows if not row["hidden"]]
        await changes.tell(session, owner, thread_id, *events)
    return [row["id"] for row in rows]


def not_found() -> NotFound:
    return NotFound("There is no such item in the thread", field="item_id")
