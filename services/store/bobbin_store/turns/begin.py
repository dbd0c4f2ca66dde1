"""Beginning a turn: everything that must happen before an answer can start.

Whatever happens in a thread takes the thread's row lock first, so that it happens in an order. A statement
sees what was committed before it began, not what was committed while it waited for a lock, except in the
rows that it changes itself: at those PostgreSQL looks again (READ COMMITTED, "EvalPlanQual"). So a begin that
reads and removes items takes the lock in a statement of its own (`retry`), while a finish, which only writes
rows, needs but one.

A begin that adds a message needs but one, too. If the thread has changed while it waited, it reads its
context again; if another turn has begun, a unique index makes it fail, and it is done again with the lock
taken first.
"""

from __future__ import annotations

from bobbin_protocol.items import UserMessageItem
from bobbin_protocol.store.turns import (
    AddClientToolOutput,
    AddStructuredInput,
    AddUserMessage,
    BeginAnswer,
    BeginTurn,
    CreateThread,
    HandleAction,
    RetryAfterItem,
    TurnBegun,
)
from bobbin_protocol.threads import ActiveStatus
from bobbin_protocol.wire import encode_json
from bobbin_store import attachments, threads
from bobbin_store.attachments import check_id
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import (
    Conflict,
    InvalidRequest,
    NoPendingCall,
    NotFound,
    NotPending,
    StoreError,
    ThreadClosed,
    ThreadLocked,
    TurnRunning,
)
from bobbin_store.turns import follow_up, join, record, retry
from bobbin_store.turns.join import opening

ACTIVE = encode_json(ActiveStatus())

# Make a thread with its first message and open the turn, if the thread's id is free and the request did not
# come before ($3, $7 to $9).
CREATE_THREAD = """
WITH earlier AS (
    SELECT id FROM turns WHERE owner_id = $1 AND id = $3
    UNION ALL
    SELECT id FROM turns WHERE owner_id = $1 AND idempotency_key = $7
    UNION ALL (
        SELECT id FROM turns WHERE owner_id = $1 AND fingerprint = $8 AND deserted_at > now() - $9::interval
        ORDER BY deserted_at LIMIT 1
    )
), thread AS (
    INSERT INTO threads (owner_id, id, status, metadata, last_seq)
    SELECT $1, $2, $14, '{}', 1 WHERE NOT EXISTS (SELECT FROM earlier)
    ON CONFLICT ON CONSTRAINT threads_pkey DO NOTHING
    RETURNING id, title, created_at, status, allowed_image_domains, metadata
), opened AS (
    INSERT INTO turns (owner_id, id, thread_id, message_id, state, gateway_id, idempotency_key, fingerprint)
    SELECT $1, $3, $2, $10, 'running', $4, $5, $6 FROM thread
), message AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, $2, $10, 1, 'user_message', false, $3, $11, $12 FROM thread
), claimed AS (
    UPDATE attachments SET thread_id = coalesce(attachments.thread_id, $2) FROM thread
    WHERE attachments.owner_id = $1 AND attachments.id = ANY ($13::text[])
), told AS (
    INSERT INTO changes (owner_id, thread_id, turn_id) SELECT $1, $2, $3 FROM thread
)
SELECT id, title, created_at, status, allowed_image_domains, metadata FROM thread
"""

# Open a turn in an active thread ($14) unless it came before ($3, $7 to $9), or another runs and is not to be
# superseded ($15); end the one that runs, append the message; tell what was there, and whether that holds.
OPEN_AND_APPEND = """
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
), locked AS MATERIALIZED (
    SELECT id, title, created_at, status, allowed_image_domains, metadata, ctid AS version
    FROM threads WHERE owner_id = $1 AND id = $2 FOR NO KEY UPDATE
), open AS MATERIALIZED (
    SELECT id FROM locked
    WHERE status::text = $14 AND NOT EXISTS (SELECT FROM earlier)
    AND NOT ($15 AND EXISTS (SELECT FROM running))
), superseded AS (
    UPDATE turns SET state = 'interrupted' FROM open
    WHERE turns.owner_id = $1 AND turns.thread_id = $2 AND turns.state = 'running'
    RETURNING turns.id
), opened AS (
    INSERT INTO turns (
        owner_id, id, thread_id, message_id, state, started_at, gateway_id, idempotency_key, fingerprint
    )
    SELECT $1, $3, $2, $10, 'running', clock_timestamp(), $4, $5, $6
    FROM open, (SELECT count(*) FROM superseded) AS before_it
    ON CONFLICT ON CONSTRAINT turns_pkey DO NOTHING
    RETURNING id
), thread AS (
    UPDATE threads SET last_seq = last_seq + 1, updated_at = now()
    WHERE owner_id = $1 AND id = $2 AND EXISTS (SELECT FROM opened) RETURNING last_seq
), message AS (
    INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT $1, $2, $10, last_seq, 'user_message', false, $3, $11, $12 FROM thread
), claimed AS (
    UPDATE attachments SET thread_id = coalesce(attachments.thread_id, $2) FROM opened
    WHERE attachments.owner_id = $1 AND attachments.id = ANY ($13::text[])
), told AS (
    INSERT INTO changes (owner_id, thread_id, turn_id) SELECT $1, $2, $3 FROM opened
)
SELECT id, title, created_at, status, allowed_image_domains, metadata,
    EXISTS (SELECT FROM opened) AS opened, EXISTS (SELECT FROM earlier) AS earlier,
    (SELECT id FROM running) AS running,
    ARRAY (
        SELECT data FROM items WHERE owner_id = $1 AND thread_id = $2 ORDER BY seq DESC LIMIT $16
    ) AS history,
    version = (SELECT ctid FROM threads WHERE owner_id = $1 AND id = $2) AS current
FROM locked
"""


async def begin(database: Database, owner: str, wanted: BeginTurn) -> BeginAnswer:
    """Do all that must happen before an answer can start, or join the turn that the same request began.

    A repeat with the same turn id changes nothing.

    Raises:
        InvalidRequest: The message is not one of this thread, or an item not of the kind that it must be.
        NotFound: There is no such thread, item or attachment.
        NoPendingCall, NotPending: Nothing waits for this output, or for these answers.
        WrongSender: An action comes from an item that is no widget.
        ThreadLocked, ThreadClosed: The thread takes no messages.
        TurnRunning: Another turn runs there, and must not be superseded.
        KeyReused: Another request came with the same idempotency key.
        Conflict: An id is taken.
    """
    try:
        return await _open(database, owner, wanted, hold=True)
    except (Conflict, NotFound, NoPendingCall, NotPending, ThreadLocked, ThreadClosed) as refusal:
        # Whatever is in the way may be there because the request came before.
        answer = await _came_before(database, owner, wanted)
        if answer is not None:
            return answer
        if not isinstance(refusal, Conflict):
            raise
    return await _open(database, owner, wanted, hold=False)


async def _came_before(database: Database, owner: str, wanted: BeginTurn) -> BeginAnswer | None:
    async with database.session(owner) as session:
        begun = await join.begun_before(session, owner, wanted)
        if begun is not None:
            return begun
        earlier = await join.find(session, owner, wanted)
        if earlier is None:
            return None
        joined = await join.join(session, owner, wanted, earlier)
        if joined is not None:
            return joined
    if earlier.message_id is None:
        return await follow_up.go_on_again(database, owner, wanted, earlier)
    return await retry.answer_again(database, owner, wanted, earlier, earlier.message_id)


async def _open(database: Database, owner: str, wanted: BeginTurn, *, hold: bool) -> TurnBegun:
    """Open the turn; with `hold` not if the request may have come before.

    Raises:
        Conflict: It may; or an id is taken.
    """
    match wanted.input:
        case CreateThread(message=message, attachment_ids=attachment_ids):
            async with database.session(owner) as session:
                await _complete(session, owner, wanted, message, attachment_ids)
                return await _create(session, owner, wanted, message, attachment_ids, hold=hold)
        case AddUserMessage(message=message, attachment_ids=attachment_ids):
            async with database.session(owner) if hold else database.transaction(owner) as session:
                if not hold:
                    await threads.lock(session, owner, wanted.thread_id)
                await _complete(session, owner, wanted, message, attachment_ids)
                return await _append(session, owner, wanted, message, attachment_ids, hold=hold)
        case RetryAfterItem(item_id=item_id):
            return await retry.retry(database, owner, wanted, item_id, hold=hold)
        case AddClientToolOutput() | AddStructuredInput() | HandleAction():
            return await follow_up.go_on(database, owner, wanted, wanted.input, hold=hold)


async def _complete(
    session: Session, owner: str, wanted: BeginTurn, message: UserMessageItem, attachment_ids: list[str]
) -> None:
    """Check a message and put its attachments in."""
    check_id(message.id, "$.input.message.id")
    if message.thread_id != wanted.thread_id:
        raise InvalidRequest(
            "The message says that it is in another thread", field="$.input.message.thread_id"
        )
    if attachment_ids:
        message.attachments = await attachments.find(session, owner, attachment_ids, wanted.thread_id)


async def _create(
    session: Session,
    owner: str,
    wanted: BeginTurn,
    message: UserMessageItem,
    attachment_ids: list[str],
    *,
    hold: bool,
) -> TurnBegun:
    document = encode_json(message)
    row = await session.fetchrow(
        CREATE_THREAD,
        *opening(owner, wanted, hold=hold),
        message.id,
        message.created_at,
        document,
        attachment_ids,
        ACTIVE,
    )
    if row is None:
        raise Conflict("A thread with this id exists already")
    return record.begun(wanted.turn_id, threads.thread_of(row), [document])


async def _append(
    session: Session,
    owner: str,
    wanted: BeginTurn,
    message: UserMessageItem,
    attachment_ids: list[str],
    *,
    hold: bool,
) -> TurnBegun:
    document = encode_json(message)
    row = await session.fetchrow(
        OPEN_AND_APPEND,
        *opening(owner, wanted, hold=hold),
        message.id,
        message.created_at,
        document,
        attachment_ids,
        ACTIVE.decode(),
        wanted.if_running == "refuse",
        wanted.history_limit - 1,
    )
    if row is None:
        raise threads.not_found()
    if not row["opened"]:
        raise _refusal(wanted, row)
    before = [*row["history"][::-1], document]
    if not row["current"]:
        before = await join.history(session, owner, wanted) or before
    return record.begun(wanted.turn_id, threads.thread_of(row), before)


def _refusal(wanted: BeginTurn, row: Row) -> StoreError:
    if not row["earlier"]:
        threads.check_open(threads.thread_of(row))
        # What ran when the thread was in another state may have ended: that is worth another look.
        if wanted.if_running == "refuse" and row["running"] is not None and row["current"]:
            return TurnRunning(row["running"])
    return Conflict("A turn with this id exists already")
