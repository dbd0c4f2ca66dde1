"""Beginning a turn: everything that must happen before an answer can start.

Whatever happens in a thread takes the thread's row lock first, so that it happens in an order. A statement
sees what was committed before it began, not what was committed while it waited for a lock; so a begin, which
reads the thread's items, takes the lock in a statement of its own. A finish only writes rows, at which
PostgreSQL looks again after the wait (READ COMMITTED, "EvalPlanQual"), and needs but one.
"""

from __future__ import annotations

from bobbin_protocol.items import UserMessageItem
from bobbin_protocol.store.turns import AddUserMessage, BeginTurn, CreateThread, RetryAfterItem, TurnBegun
from bobbin_protocol.threads import ActiveStatus, ThreadMetadata
from bobbin_protocol.wire import encode_json
from bobbin_store import attachments, items, threads
from bobbin_store.attachments import check_id
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import Conflict, InvalidRequest, NotFound, StoreError

ACTIVE = encode_json(ActiveStatus())

# Make a thread with its first message and open the turn, if the thread's id is free.
CREATE_THREAD = """
WITH thread AS (
    INSERT INTO threads (owner_id, id, status, metadata, last_seq) VALUES ($1, $2, $9, '{}', 1)
    ON CONFLICT ON CONSTRAINT threads_pkey DO NOTHING
    RETURNING id, title, created_at, status, allowed_image_domains, metadata
), opened AS (
    INSERT INTO turns (owner_id, id, thread_id, message_id, state)
    SELECT $1, $3, $2, $4, 'running' FROM thread
), message AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, $2, $4, 1, $5, false, $3, $6, $7 FROM thread
), claimed AS (
    UPDATE attachments SET thread_id = coalesce(attachments.thread_id, $2) FROM thread
    WHERE attachments.owner_id = $1 AND attachments.id = ANY ($8::text[])
)
SELECT id, title, created_at, status, allowed_image_domains, metadata FROM thread
"""

# Open a turn unless it is known, end the one that runs, append the message; and tell what was there.
OPEN_AND_APPEND = """
WITH known AS (
    SELECT FROM turns WHERE owner_id = $1 AND id = $3
), superseded AS (
    UPDATE turns SET state = 'interrupted'
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
    SELECT $1, $2, $4, last_seq, $5, false, $3, $6, $7 FROM thread
), claimed AS (
    UPDATE attachments SET thread_id = coalesce(attachments.thread_id, $2) FROM opened
    WHERE attachments.owner_id = $1 AND attachments.id = ANY ($8::text[])
)
SELECT EXISTS (SELECT FROM opened) AS opened, ARRAY (
    SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 ORDER BY seq DESC LIMIT $9
) AS history
"""

# Open a turn unless it is known, end the one that runs, remove all behind the message; give what is left.
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

# What a begin answered, told again: the items up to the message of a known turn; none if it is gone by now.
BEGUN = """
WITH turn AS MATERIALIZED (
    SELECT thread_id, message_id FROM turns WHERE owner_id = $1 AND id = $2
)
SELECT turn.thread_id, ARRAY (
    SELECT items.data FROM items
    WHERE items.owner_id = $1 AND items.thread_id = turn.thread_id AND items.seq <= (
        SELECT message.seq FROM items AS message
        WHERE message.owner_id = $1 AND message.thread_id = turn.thread_id AND message.id = turn.message_id
    )
    ORDER BY items.seq DESC LIMIT $3
) AS history
FROM turn
"""


async def begin(database: Database, owner: str, wanted: BeginTurn) -> TurnBegun:
    """Do all that must happen before an answer can start; a repeat with the same turn id changes nothing.

    Raises:
        InvalidRequest: The message is not one of this thread.
        NotFound: There is no such thread, item or attachment.
        ThreadLocked, ThreadClosed: The thread takes no messages.
        Conflict: An id is taken.
    """
    match wanted.input:
        case CreateThread():
            scope = database.session(owner)
        case AddUserMessage() | RetryAfterItem():
            scope = database.transaction(owner)
    async with scope as session:
        try:
            begun = await _open(session, owner, wanted)
        except StoreError:
            # A repeat may find that the thread is locked by now, or its id taken: by the first try.
            begun = await _begun(session, owner, wanted)
            if begun is None:
                raise
        return begun


async def _open(session: Session, owner: str, wanted: BeginTurn) -> TurnBegun:
    match wanted.input:
        case CreateThread(message=message, attachment_ids=attachment_ids):
            return await _create(session, owner, wanted, message, attachment_ids)
        case AddUserMessage(message=message, attachment_ids=attachment_ids):
            thread = await threads.lock(session, owner, wanted.thread_id)
            threads.check_open(thread)
            return await _append(session, owner, wanted, thread, message, attachment_ids)
        case RetryAfterItem(item_id=item_id):
            thread = await threads.lock(session, owner, wanted.thread_id)
            threads.check_open(thread)
            return await _cut(session, owner, wanted, thread, item_id)


async def _create(
    session: Session, owner: str, wanted: BeginTurn, message: UserMessageItem, attachment_ids: list[str]
) -> TurnBegun:
    parameters = await _message_parameters(session, owner, wanted, message, attachment_ids)
    row = await session.fetchrow(CREATE_THREAD, owner, *parameters, ACTIVE)
    if row is None:
        raise Conflict("A thread with this id exists already")
    return _answer(wanted, threads.thread_of(row), [encode_json(message)])


async def _append(
    session: Session,
    owner: str,
    wanted: BeginTurn,
    thread: ThreadMetadata,
    message: UserMessageItem,
    attachment_ids: list[str],
) -> TurnBegun:
    parameters = await _message_parameters(session, owner, wanted, message, attachment_ids)
    row = await session.fetchrow(OPEN_AND_APPEND, owner, *parameters, wanted.history_limit - 1)
    return _answer(wanted, thread, [*_history(row), encode_json(message)])


async def _message_parameters(
    session: Session, owner: str, wanted: BeginTurn, message: UserMessageItem, attachment_ids: list[str]
) -> tuple[object, ...]:
    check_id(message.id, "$.input.message.id")
    if message.thread_id != wanted.thread_id:
        raise InvalidRequest(
            "The message says that it is in another thread", field="$.input.message.thread_id"
        )
    if attachment_ids:
        message.attachments = await attachments.find(session, owner, attachment_ids)
    return (
        wanted.thread_id,
        wanted.turn_id,
        message.id,
        "user_message",
        message.created_at,
        encode_json(message),
        attachment_ids,
    )


def _history(row: Row | None) -> list[bytes]:
    """Give what stood before, oldest first.

    Raises:
        Conflict: The turn is known, so nothing happened.
    """
    if row is None or not row["opened"]:
        raise Conflict("A turn with this id exists already")
    return row["history"][::-1]


def _answer(wanted: BeginTurn, thread: ThreadMetadata, history: list[bytes]) -> TurnBegun:
    documents = items.documents(history)
    return TurnBegun(turn_id=wanted.turn_id, thread=thread, history=documents, message=documents[-1])


# An item to answer again, and where it stands.
QUESTION = "SELECT seq, type FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"


async def _cut(
    session: Session, owner: str, wanted: BeginTurn, thread: ThreadMetadata, item_id: str
) -> TurnBegun:
    question = await session.fetchrow(QUESTION, owner, wanted.thread_id, item_id)
    if question is None:
        raise NotFound("There is no such item in the thread", field="$.input.item_id")
    if question["type"] != "user_message":
        raise InvalidRequest("Only a user message can be answered again", field="$.input.item_id")
    row = await session.fetchrow(
        OPEN_AND_CUT, owner, wanted.thread_id, wanted.turn_id, item_id, question["seq"], wanted.history_limit
    )
    return _answer(wanted, thread, _history(row))


async def _begun(session: Session, owner: str, wanted: BeginTurn) -> TurnBegun | None:
    row = await session.fetchrow(BEGUN, owner, wanted.turn_id, wanted.history_limit)
    if row is None or row["thread_id"] != wanted.thread_id or not row["history"]:
        return None
    thread = await threads.get(session, owner, wanted.thread_id)
    return _answer(wanted, thread, row["history"][::-1])
