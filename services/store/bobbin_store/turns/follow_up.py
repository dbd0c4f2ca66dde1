"""Beginning turns that answer no message: they go on from a call's output, from answers, or from an action.

What a user sends then changes an item, or belongs to one, so the item is looked at under the thread's lock,
in a statement before the one that opens the turn.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias, cast

import msgspec

from bobbin_protocol.events import ThreadItemRemovedEvent
from bobbin_protocol.items import StoredItem, StructuredInputItem
from bobbin_protocol.store.turns import (
    AddClientToolOutput,
    AddStructuredInput,
    BeginTurn,
    HandleAction,
    TurnBegun,
)
from bobbin_protocol.structured_input import answers_to
from bobbin_protocol.wire import encode_json
from bobbin_store import changes, items, threads
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import (
    Conflict,
    InvalidRequest,
    NoPendingCall,
    NotFound,
    NotPending,
    StoreError,
    TurnRunning,
    WrongSender,
)
from bobbin_store.turns import record
from bobbin_store.turns.join import Earlier, opening
from bobbin_store.turns.retry import TAKE

FollowUp: TypeAlias = AddClientToolOutput | AddStructuredInput | HandleAction

ITEM_FIELD: Final = "$.input.item_id"

# Open a turn if nothing else is in the way ($15), unless it came before ($3, $7 to $9), or another runs and
# is not to be superseded ($14); end the one that runs, whose items have lost their place if $17. Put the
# subject ($10) as it is now ($11, if it has changed), as an item of this turn if $16; remove items ($12);
# tell those who watch, in this order ($18, $19); give the context as it is then.
OPEN = """
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
), open AS MATERIALIZED (
    SELECT last_seq FROM threads
    WHERE owner_id = $1 AND id = $2 AND $15::boolean AND NOT EXISTS (SELECT FROM earlier)
    AND NOT ($14 AND EXISTS (SELECT FROM running))
), superseded AS (
    UPDATE turns SET state = 'interrupted', discarded = $17 FROM open
    WHERE owner_id = $1 AND thread_id = $2 AND state = 'running'
    RETURNING turns.id
), opened AS (
    INSERT INTO turns (
        owner_id, id, thread_id, subject_id, context_seq, state, started_at,
        gateway_id, idempotency_key, fingerprint
    )
    SELECT $1, $3, $2, $10, last_seq, 'running', clock_timestamp(), $4, $5, $6
    FROM open, (SELECT count(*) FROM superseded) AS before_it
    RETURNING id
), thread AS (
    UPDATE threads SET updated_at = now() FROM opened WHERE threads.owner_id = $1 AND threads.id = $2
), put AS (
    UPDATE items SET data = $11, turn_id = CASE WHEN $16 THEN $3 ELSE turn_id END FROM opened
    WHERE items.owner_id = $1 AND items.thread_id = $2 AND items.id = $10 AND $11::json IS NOT NULL
), removed AS (
    DELETE FROM items USING opened
    WHERE items.owner_id = $1 AND items.thread_id = $2 AND items.id = ANY ($12::text[])
), told AS (
    INSERT INTO changes (owner_id, thread_id, turn_id, event)
    SELECT $1, $2, told.turn_id, told.event
    FROM opened, unnest($18::text[], $19::bytea[]) AS told (turn_id, event)
)
SELECT EXISTS (SELECT FROM opened) AS opened, EXISTS (SELECT FROM earlier) AS earlier,
    (SELECT id FROM running) AS running,
    ARRAY (
        SELECT CASE WHEN id = $10 THEN coalesce($11::json, data) ELSE data END FROM items
        WHERE owner_id = $1 AND thread_id = $2 AND NOT id = ANY ($12::text[]) ORDER BY seq DESC LIMIT $13
    ) AS history
"""


class Start(NamedTuple):
    """Where a turn goes on from."""

    subject_id: str | None = None
    subject: bytes | None = None
    """The item as it is from now on."""
    changed: bool = False
    taken: bool = False
    """Whether it is an item of the new turn from now on, whose readers are told of it."""
    removed: tuple[str, ...] = ()
    events: tuple[changes.Event, ...] = ()
    """For those who watch the thread."""
    cuts: bool = False
    """Whether what is removed is all that came since."""
    in_the_way: StoreError | None = None


async def go_on(
    database: Database, owner: str, wanted: BeginTurn, follow_up: FollowUp, *, hold: bool
) -> TurnBegun:
    """Begin a turn that goes on from something.

    Raises:
        InvalidRequest, WrongSender: The item is not of the kind that it must be.
        NotFound: There is no such thread or item.
        NoPendingCall, NotPending: Nothing waits for this output, or for these answers.
        ThreadLocked, ThreadClosed: The thread takes nothing but actions.
        TurnRunning: Another turn runs there, and must not be superseded.
        Conflict: The turn's id is taken, or the request may have come before (`hold`).
    """
    async with database.transaction(owner) as session:
        thread = await threads.lock(session, owner, wanted.thread_id)
        match follow_up:
            case AddClientToolOutput():
                threads.check_open(thread)
                start = await _completed_call(session, owner, thread.id, follow_up)
            case AddStructuredInput():
                threads.check_open(thread)
                start = await _answered_questions(session, owner, thread.id, follow_up)
            case HandleAction():
                start = await _sender(session, owner, thread.id, follow_up)
        row = await _open(session, owner, wanted, start, hold=hold)
        return record.gone_on(wanted.turn_id, thread, row["history"][::-1], start.subject)


async def _open(session: Session, owner: str, wanted: BeginTurn, start: Start, *, hold: bool) -> Row:
    events = [encode_json(event) for event in start.events]
    row = await session.fetchrow(
        OPEN,
        *opening(owner, wanted, hold=hold),
        start.subject_id,
        start.subject if start.changed or start.taken else None,
        start.removed,
        wanted.history_limit,
        wanted.if_running == "refuse",
        start.in_the_way is None,
        start.taken,
        start.cuts,
        [*(None for _ in events), wanted.turn_id],
        [*events, None],
    )
    assert row is not None  # noqa: S101 (a SELECT without FROM has one row)
    if not row["opened"]:
        raise _refusal(wanted, row, start)
    return row


def _refusal(wanted: BeginTurn, row: Row, start: Start) -> StoreError:
    """Say why a turn was not opened. One that runs may be about to store what is missing: it comes first."""
    if row["earlier"]:
        return Conflict("A turn with this id exists already")
    if wanted.if_running == "refuse" and row["running"] is not None:
        return TurnRunning(row["running"])
    return start.in_the_way or Conflict("The turn could not begin")


# The client tool calls among the last items of a thread, the latest first; and whether nothing that can be
# seen stands behind the call.
CALLS = """
SELECT id, data, id = (
    SELECT id FROM items WHERE owner_id = $1 AND thread_id = $2 AND NOT hidden ORDER BY seq DESC LIMIT 1
) AS last
FROM (
    SELECT id, type, data FROM items WHERE owner_id = $1 AND thread_id = $2 ORDER BY seq DESC LIMIT 1000
) AS recent
WHERE type = 'client_tool_call'
"""


async def _completed_call(session: Session, owner: str, thread_id: str, output: AddClientToolOutput) -> Start:
    """Put the output into the call; others that still wait would wait for ever (reference: the same)."""
    rows = await session.fetch(CALLS, owner, thread_id)
    calls = [(row["last"], items.decode_item(row["data"])) for row in rows]
    pending = [(last, call) for last, call in calls if call.get("status", "pending") == "pending"]
    if not pending or not pending[0][0]:
        return Start(in_the_way=NoPendingCall("No client tool call waits for its output in this thread"))
    call: StoredItem = {**pending[0][1], "status": "completed"}
    call.pop("output", None)
    if output.result is not None:
        call["output"] = output.result
    dangling = tuple(call["id"] for _, call in pending[1:])
    return Start(
        subject_id=call["id"],
        subject=encode_json(call),
        changed=True,
        removed=dangling,
        events=(
            changes.replaced(call),
            *(ThreadItemRemovedEvent(item_id=item_id) for item_id in dangling),
        ),
    )


# One item.
ITEM = "SELECT type, data FROM items WHERE owner_id = $1 AND thread_id = $2 AND id = $3"


async def _answered_questions(
    session: Session, owner: str, thread_id: str, answers: AddStructuredInput
) -> Start:
    """Put the answers into the questions; the turn's own stream tells of them."""
    row = await session.fetchrow(ITEM, owner, thread_id, answers.item_id)
    if row is None:
        return Start(in_the_way=_no_such_item())
    if row["type"] != "structured_input":
        wrong = InvalidRequest("Only questions can be answered", field=ITEM_FIELD)
        return Start(in_the_way=wrong)
    item = items.decode_item(row["data"])
    questions = msgspec.convert(item, StructuredInputItem)
    if questions.status != "pending":
        return Start(in_the_way=NotPending("These questions have been answered or skipped already"))
    answered = zip(
        cast("list[StoredItem]", item["inputs"]),
        answers_to(questions.inputs, answers.submission),
        strict=True,
    )
    item["inputs"] = [{**question, "answer": answer} for question, answer in answered]
    item["status"] = answers.submission.status
    return Start(subject_id=answers.item_id, subject=encode_json(item), changed=True, taken=True)


async def _sender(session: Session, owner: str, thread_id: str, action: HandleAction) -> Start:
    """Find the widget that an action comes from, if one does."""
    if action.item_id is None:
        return Start()
    row = await session.fetchrow(ITEM, owner, thread_id, action.item_id)
    if row is None:
        return Start(in_the_way=_no_such_item())
    if row["type"] != "widget":
        return Start(in_the_way=WrongSender("Only a widget can send an action", field=ITEM_FIELD))
    return Start(subject_id=action.item_id, subject=row["data"])


def _no_such_item() -> NotFound:
    return NotFound("There is no such item in the thread", field=ITEM_FIELD)


# What came since a turn began.
SINCE = "SELECT id, hidden FROM items WHERE owner_id = $1 AND thread_id = $2 AND seq > $3 ORDER BY seq"


async def go_on_again(
    database: Database, owner: str, wanted: BeginTurn, earlier: Earlier
) -> TurnBegun | None:
    """Go on anew from what a cancelled turn went on from: what came of it is removed.

    None if that is gone, or if it was done.

    Raises:
        ThreadLocked, ThreadClosed: The thread takes nothing but actions.
    """
    again = msgspec.structs.replace(wanted, thread_id=earlier.thread_id, if_running="supersede")
    try:
        async with database.transaction(owner) as session:
            thread = await threads.lock(session, owner, earlier.thread_id)
            if not isinstance(wanted.input, HandleAction):
                threads.check_open(thread)
            if await session.fetchval(TAKE, owner, earlier.turn_id, wanted.turn_id) is None:
                return None
            start = await _same_start(session, owner, wanted, earlier)
            row = await _open(session, owner, again, start, hold=False)
            return record.gone_on(wanted.turn_id, thread, row["history"][::-1], start.subject)
    except NotFound:
        return None


async def _same_start(session: Session, owner: str, wanted: BeginTurn, earlier: Earlier) -> Start:
    subject = None
    if earlier.subject_id is not None:
        subject = await session.fetchrow(ITEM, owner, earlier.thread_id, earlier.subject_id)
        if subject is None:
            return Start(in_the_way=_no_such_item())
    since = await session.fetch(SINCE, owner, earlier.thread_id, earlier.context_seq)
    return Start(
        subject_id=earlier.subject_id,
        subject=None if subject is None else subject["data"],
        taken=isinstance(wanted.input, AddStructuredInput),
        removed=tuple(row["id"] for row in since),
        events=tuple(ThreadItemRemovedEvent(item_id=row["id"]) for row in since if not row["hidden"]),
        cuts=True,
    )
