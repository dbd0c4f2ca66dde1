"""Turns: begun and finished in one transaction each.

Both take the thread's row lock first (`threads.lock`), so that what happens in one thread has an order,
and look at the turn only afterwards, in a statement of its own: a statement sees what was committed before it
began, not what was committed while it waited for a lock.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bobbin_protocol.items import StoredItem, UserMessageItem
from bobbin_protocol.store.turns import (
    AddUserMessage,
    BeginTurn,
    CreateThread,
    FinishTurn,
    RetryAfterItem,
    TurnBegun,
    TurnFinished,
    TurnRecord,
    Usage,
)
from bobbin_protocol.threads import ActiveStatus, ThreadMetadata
from bobbin_protocol.wire import encode_json
from bobbin_store import attachments, items, threads
from bobbin_store.database import Database, Row, Transaction
from bobbin_store.errors import Conflict, InvalidRequest, NotFound, StoreError

decode_usage = msgspec.json.Decoder(Usage).decode

ACTIVE = encode_json(ActiveStatus())

# Make the thread of a first message, if its id is free.
CREATE_THREAD = """
INSERT INTO threads (owner_id, id, status, metadata) VALUES ($1, $2, $3, '{}')
ON CONFLICT ON CONSTRAINT threads_pkey DO NOTHING
RETURNING id, title, created_at, status, allowed_image_domains, metadata
"""

# Open a turn unless it is known, end the one that runs, append the message; and give what stood before it.
OPEN_AND_APPEND = """
WITH known AS (
    SELECT FROM turns WHERE owner_id = $1 AND id = $3
), superseded AS (
    UPDATE turns SET state = 'interrupted', ended_at = now()
    WHERE owner_id = $1 AND thread_id = $2 AND state = 'running' AND NOT EXISTS (SELECT FROM known)
    RETURNING id
), opened AS (
    INSERT INTO turns (owner_id, id, thread_id, message_id, state)
    SELECT $1, $3, $2, $4, 'running' FROM (SELECT count(*) FROM superseded) AS before_it
    ON CONFLICT ON CONSTRAINT turns_pkey DO NOTHING
    RETURNING id
), thread AS (
    UPDATE threads SET last_seq = last_seq + 1, updated_at = now() FROM opened
    WHERE threads.owner_id = $1 AND threads.id = $2 RETURNING threads.last_seq
), message AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, $2, $4, last_seq, $5, $6, $3, $7, $8 FROM thread
)
SELECT EXISTS (SELECT FROM opened) AS opened, ARRAY (
    SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 ORDER BY seq DESC LIMIT $9
) AS history
"""

# Open a turn unless it is known, end the one that runs, remove all behind the message; and give what is left.
OPEN_AND_CUT = """
WITH known AS (
    SELECT FROM turns WHERE owner_id = $1 AND id = $3
), superseded AS (
    UPDATE turns SET state = 'interrupted', ended_at = now()
    WHERE owner_id = $1 AND thread_id = $2 AND state = 'running' AND NOT EXISTS (SELECT FROM known)
    RETURNING id
), opened AS (
    INSERT INTO turns (owner_id, id, thread_id, message_id, state)
    SELECT $1, $3, $2, $4, 'running' FROM (SELECT count(*) FROM superseded) AS before_it
    ON CONFLICT ON CONSTRAINT turns_pkey DO NOTHING
    RETURNING id
), thread AS (
    UPDATE threads SET updated_at = now() FROM opened WHERE threads.owner_id = $1 AND threads.id = $2
), removed AS (
    DELETE FROM items USING opened WHERE items.owner_id = $1 AND items.thread_id = $2 AND items.seq > $5
)
SELECT EXISTS (SELECT FROM opened) AS opened, ARRAY (
    SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 AND seq <= $5 ORDER BY seq DESC LIMIT $6
) AS history
"""

# What a begin answered, told again: the message of a known turn, and what stood up to it.
BEGUN = """
SELECT turns.thread_id, turns.message_id, ARRAY (
    SELECT earlier.data FROM items AS earlier
    WHERE earlier.owner_id = $1 AND earlier.thread_id = message.thread_id AND earlier.seq <= message.seq
    ORDER BY earlier.seq DESC LIMIT $3
) AS history
FROM turns LEFT JOIN items AS message
ON message.owner_id = turns.owner_id AND message.thread_id = turns.thread_id AND message.id = turns.message_id
WHERE turns.owner_id = $1 AND turns.id = $2
"""


async def begin(database: Database, owner: str, wanted: BeginTurn) -> TurnBegun:
    """Do all that must happen before an answer can start; a repeat with the same turn id changes nothing.

    Raises:
        InvalidRequest: The message is not one of this thread.
        NotFound: There is no such thread, item or attachment.
        ThreadLocked, ThreadClosed: The thread takes no messages.
        Conflict: An id is taken.
    """
    async with database.transaction(owner) as transaction:
        try:
            thread, opened = await _open(transaction, owner, wanted)
        except StoreError:
            # A repeat may come when the thread is locked by now or its id is taken: by the first try.
            begun = await _begun(transaction, owner, wanted)
            if begun is None:
                raise
            return begun
        if opened is None:
            begun = await _begun(transaction, owner, wanted)
            if begun is None:
                raise Conflict("The turn's id is taken")
            return begun
    return TurnBegun(turn_id=wanted.turn_id, thread=thread, history=opened.history, message=opened.message)


class Opened(NamedTuple):
    history: list[StoredItem]
    message: StoredItem


async def _open(
    transaction: Transaction, owner: str, wanted: BeginTurn
) -> tuple[ThreadMetadata, Opened | None]:
    match wanted.input:
        case CreateThread(message=message, attachment_ids=attachment_ids):
            thread = await _create_thread(transaction, owner, wanted.thread_id)
            return thread, await _append(transaction, owner, wanted, message, attachment_ids)
        case AddUserMessage(message=message, attachment_ids=attachment_ids):
            thread = await threads.lock(transaction, owner, wanted.thread_id)
            threads.check_open(thread)
            return thread, await _append(transaction, owner, wanted, message, attachment_ids)
        case RetryAfterItem(item_id=item_id):
            thread = await threads.lock(transaction, owner, wanted.thread_id)
            threads.check_open(thread)
            return thread, await _cut(transaction, owner, wanted, item_id)


async def _create_thread(transaction: Transaction, owner: str, thread_id: str) -> ThreadMetadata:
    row = await transaction.fetchrow(CREATE_THREAD, owner, thread_id, ACTIVE)
    if row is None:
        raise Conflict("A thread with this id exists already")
    return threads.thread_of(row)


async def _append(
    transaction: Transaction,
    owner: str,
    wanted: BeginTurn,
    message: UserMessageItem,
    attachment_ids: list[str],
) -> Opened | None:
    if attachment_ids:
        message.attachments = await attachments.claim(transaction, owner, attachment_ids, wanted.thread_id)
    attachments.check_id(message.id, "$.input.message.id")
    if message.thread_id != wanted.thread_id:
        raise InvalidRequest(
            "The message says that it is in another thread", field="$.input.message.thread_id"
        )
    data = encode_json(message)
    row = await transaction.fetchrow(
        OPEN_AND_APPEND,
        owner,
        wanted.thread_id,
        wanted.turn_id,
        message.id,
        "user_message",
        False,  # noqa: FBT003 (a value of the statement)
        message.created_at,
        data,
        wanted.history_limit - 1,
    )
    assert row is not None  # noqa: S101 (a SELECT without FROM gives one row)
    if not row["opened"]:
        return None
    history = items.documents([*reversed(row["history"]), data])
    return Opened(history, history[-1])


# An item to answer again, and where it stands.
QUESTION = "SELECT seq, type FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"


async def _cut(transaction: Transaction, owner: str, wanted: BeginTurn, item_id: str) -> Opened | None:
    question = await transaction.fetchrow(QUESTION, owner, wanted.thread_id, item_id)
    if question is None:
        raise NotFound("There is no such item in the thread", field="$.input.item_id")
    if question["type"] != "user_message":
        raise InvalidRequest("Only a user message can be answered again", field="$.input.item_id")
    row = await transaction.fetchrow(
        OPEN_AND_CUT, owner, wanted.thread_id, wanted.turn_id, item_id, question["seq"], wanted.history_limit
    )
    assert row is not None  # noqa: S101 (a SELECT without FROM gives one row)
    if not row["opened"]:
        return None
    history = items.documents(row["history"][::-1])
    return Opened(history, history[-1])


async def _begun(transaction: Transaction, owner: str, wanted: BeginTurn) -> TurnBegun | None:
    row = await transaction.fetchrow(BEGUN, owner, wanted.turn_id, wanted.history_limit)
    if row is None or row["thread_id"] != wanted.thread_id or not row["history"]:
        return None
    history = items.documents(row["history"][::-1])
    thread = await threads.get(transaction, owner, wanted.thread_id)
    return TurnBegun(turn_id=wanted.turn_id, thread=thread, history=history, message=history[-1])


# The thread of a turn, kept from other writers.
LOCK_THREAD_OF = """
SELECT id, title, created_at, status, allowed_image_domains, metadata FROM threads
WHERE owner_id = $1 AND id = (SELECT thread_id FROM turns WHERE owner_id = $1 AND id = $2)
FOR NO KEY UPDATE
"""

# End a running turn: its state, its items in their order, its thread. Nothing happens to one that has ended.
END = """
WITH ended AS (
    UPDATE turns SET state = $4, ended_at = now(), usage = $5, error = $6
    WHERE owner_id = $1 AND id = $3 AND state = 'running' RETURNING id
), thread AS (
    UPDATE threads
    SET title = $7, status = $8, allowed_image_domains = $9, metadata = $10, updated_at = now(),
        last_seq = last_seq + cardinality($11::text[])
    FROM ended WHERE threads.owner_id = $1 AND threads.id = $2
    RETURNING threads.last_seq - cardinality($11::text[]) AS before
), written AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, $2, entry.id, thread.before + entry.number, entry.type, entry.hidden, $3,
           entry.created_at, entry.data
    FROM thread, unnest($11::text[], $12::text[], $13::boolean[], $14::timestamptz[], $15::json[])
        WITH ORDINALITY AS entry (id, type, hidden, created_at, data, number)
    ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
    SET type = excluded.type, hidden = excluded.hidden, turn_id = excluded.turn_id,
        created_at = excluded.created_at, data = excluded.data
)
SELECT EXISTS (SELECT FROM ended)
"""

# How a turn stands.
STATE = "SELECT state FROM turns WHERE owner_id = $1 AND id = $2"

# Remove items that a turn took back.
REMOVE = "DELETE FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = ANY ($3::text[])"


async def finish(database: Database, owner: str, turn_id: str, outcome: FinishTurn) -> TurnFinished:
    """Write the whole outcome of a turn; a repeat changes nothing.

    Raises:
        InvalidRequest: An item is not one of the turn's thread.
        NotFound: There is no such turn, or its thread has been deleted.
        Conflict: It has ended in another state.
    """
    async with database.transaction(owner) as transaction:
        row = await transaction.fetchrow(LOCK_THREAD_OF, owner, turn_id)
        if row is None:
            raise not_found()
        thread = threads.thread_of(row)
        after = thread if outcome.thread is None else threads.changed(thread, outcome.thread)
        if not await _end(transaction, owner, turn_id, outcome, after):
            state = await transaction.fetchval(STATE, owner, turn_id)
            if state != outcome.state:
                raise Conflict(f"The turn has ended already: {state}")
            after = thread
    return TurnFinished(turn_id=turn_id, state=outcome.state, thread=after)


async def _end(
    transaction: Transaction, owner: str, turn_id: str, outcome: FinishTurn, thread: ThreadMetadata
) -> bool:
    entries = items.entries_of(outcome.items, thread.id)
    ended = await transaction.fetchval(
        END,
        owner,
        thread.id,
        turn_id,
        outcome.state,
        None if outcome.usage is None else encode_json(outcome.usage),
        None if outcome.error is None else outcome.error.replace("\0", "\ufffd"),
        *threads.columns(thread),
        *([list(column) for column in zip(*entries, strict=True)] or [[]] * len(items.Entry._fields)),
    )
    written = {entry.id for entry in entries}
    removed = [item_id for item_id in outcome.removed_item_ids if item_id not in written]
    if ended and removed:
        await transaction.execute(REMOVE, owner, thread.id, removed)
    return ended


# One turn.
GET = """
SELECT id, thread_id, state, started_at, ended_at, usage, error FROM turns WHERE owner_id = $1 AND id = $2
"""


async def get(database: Database, owner: str, turn_id: str) -> TurnRecord:
    """Give what is known of a turn.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.transaction(owner) as transaction:
        row = await transaction.fetchrow(GET, owner, turn_id)
    if row is None:
        raise not_found()
    return record_of(row)


def record_of(row: Row) -> TurnRecord:
    return TurnRecord(
        id=row["id"],
        thread_id=row["thread_id"],
        state=row["state"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        usage=None if row["usage"] is None else decode_usage(row["usage"]),
        error=row["error"],
    )


def not_found() -> NotFound:
    return NotFound("There is no such turn", field="turn_id")
