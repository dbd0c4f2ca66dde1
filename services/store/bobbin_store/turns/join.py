"""Requests that came before: told the same again, or let into the turn that they began.

A begin is known by its turn id: then it was repeated by its gateway. A request is known by its idempotency
key; or, without one, by its fingerprint, if the turn that it began has lost its last reader and nobody has
joined it since. Whoever joins leaves the id in their begin, so that they are known too when they repeat it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal, NamedTuple

from bobbin_protocol.store.turns import BeginTurn, CreateThread, TurnBegun, TurnJoined, TurnState
from bobbin_store import threads
from bobbin_store.database import Row, Session
from bobbin_store.errors import KeyReused
from bobbin_store.turns import record

REPEATED_WITHIN: Final = timedelta(minutes=5)
"""How long after the window of re-sends the repeat of a begin that joined is still known."""


def opening(owner: str, wanted: BeginTurn, *, hold: bool) -> tuple[object, ...]:
    """Give $1 to $9 of every statement that opens a turn.

    With `hold` it does nothing if the request may have come before: its key is there, or a deserted turn has
    its fingerprint. Which of both it is, `find` knows.
    """
    return (
        owner,
        wanted.thread_id,
        wanted.turn_id,
        wanted.gateway_id,
        wanted.idempotency_key,
        wanted.fingerprint,
        wanted.idempotency_key if hold else None,
        _recognisable(wanted) if hold else None,
        _window(wanted) + REPEATED_WITHIN,
    )


def _recognisable(wanted: BeginTurn) -> bytes | None:
    without_key = wanted.idempotency_key is None and wanted.resend_window_s > 0
    return wanted.fingerprint if without_key else None


def _window(wanted: BeginTurn) -> timedelta:
    return timedelta(seconds=wanted.resend_window_s)


# What a begin answered, told again: the items up to the message of a known turn, none if it is gone by now;
# or what stood there when a turn without a message began.
BEGUN = """
WITH turn AS MATERIALIZED (
    SELECT thread_id, message_id, subject_id, context_seq, fingerprint
    FROM turns WHERE owner_id = $1 AND id = $2
)
SELECT turn.thread_id, turn.message_id, turn.subject_id, turn.fingerprint, ARRAY (
    SELECT items.data FROM items
    WHERE items.owner_id = $1 AND items.thread_id = turn.thread_id AND items.seq <= coalesce(
        turn.context_seq,
        (
            SELECT message.seq FROM items AS message
            WHERE message.owner_id = $1 AND message.thread_id = turn.thread_id
            AND message.id = turn.message_id
        )
    )
    ORDER BY items.seq DESC LIMIT $3
) AS history, (
    SELECT subject.data FROM items AS subject
    WHERE subject.owner_id = $1 AND subject.thread_id = turn.thread_id AND subject.id = turn.subject_id
) AS subject
FROM turn
"""


async def history(session: Session, owner: str, wanted: BeginTurn) -> list[bytes]:
    """Give the context of a turn that has begun, as it stands now, oldest item first."""
    row = await session.fetchrow(BEGUN, owner, wanted.turn_id, wanted.history_limit)
    return [] if row is None else row["history"][::-1]


async def begun_before(session: Session, owner: str, wanted: BeginTurn) -> TurnBegun | None:
    """Answer a begin whose turn is there already; None if there is none, or it is another request's."""
    row = await session.fetchrow(BEGUN, owner, wanted.turn_id, wanted.history_limit)
    if row is None:
        return None
    same = wanted.fingerprint is not None and row["fingerprint"] == wanted.fingerprint
    if row["thread_id"] != wanted.thread_id and not same:
        return None
    history = row["history"][::-1]
    is_gone = not history if row["message_id"] else row["subject_id"] and row["subject"] is None
    if is_gone:
        return None
    thread = await threads.get(session, owner, row["thread_id"])
    if row["message_id"] is None:
        return record.gone_on(wanted.turn_id, thread, history, row["subject"])
    return record.begun(wanted.turn_id, thread, history)


class Earlier(NamedTuple):
    """A turn that the same request began."""

    turn_id: str
    thread_id: str
    message_id: str | None
    subject_id: str | None
    context_seq: int | None
    """Of a turn without a message: what stands behind came later."""
    known_by: Literal["key", "fingerprint"]


# The turn of an idempotency key.
BY_KEY = """
SELECT id, thread_id, message_id, subject_id, context_seq, fingerprint
FROM turns WHERE owner_id = $1 AND idempotency_key = $2
"""

# Deserted turns of the same request that nobody has joined since, or this very begin has; the latest first.
BY_FINGERPRINT = """
SELECT id, thread_id, message_id, subject_id, context_seq, joined_by IS NOT NULL AS joined,
    state = 'cancelled' OR cancel_requested AND state = 'running' AS cancelled,
    NOT EXISTS (
        SELECT FROM turns AS later WHERE later.owner_id = $1 AND later.thread_id = turns.thread_id
        AND (later.started_at, later.id) > (turns.started_at, turns.id)
    ) AS last
FROM turns
WHERE owner_id = $1 AND fingerprint = $2 AND deserted_at > now() - $3::interval
AND (joined_by = $5 OR joined_by IS NULL AND deserted_at > now() - $4::interval)
ORDER BY deserted_at DESC
"""


async def find(session: Session, owner: str, wanted: BeginTurn) -> Earlier | None:
    """Find the turn that the same request began.

    Raises:
        KeyReused: Another request came with its key.
    """
    if wanted.idempotency_key is not None:
        row = await session.fetchrow(BY_KEY, owner, wanted.idempotency_key)
        if row is None:
            return None
        if row["fingerprint"] != wanted.fingerprint:
            raise KeyReused("This idempotency key came with another request before")
        return _earlier(row, "key")
    fingerprint, window = _recognisable(wanted), _window(wanted)
    if fingerprint is None:
        return None
    rows = await session.fetch(
        BY_FINGERPRINT, owner, fingerprint, window + REPEATED_WITHIN, window, wanted.turn_id
    )
    row = next((row for row in rows if row["joined"] or _is_sent_again(wanted, row)), None)
    return None if row is None else _earlier(row, "fingerprint")


def _earlier(row: Row, known_by: Literal["key", "fingerprint"]) -> Earlier:
    return Earlier(
        turn_id=row["id"],
        thread_id=row["thread_id"],
        message_id=row["message_id"],
        subject_id=row["subject_id"],
        context_seq=row["context_seq"],
        known_by=known_by,
    )


def _is_sent_again(wanted: BeginTurn, row: Row) -> bool:
    """Whether nothing speaks against it: who went on in the thread since then means it anew.

    For a new thread that says nothing, unless the turn is to be answered again, which removes what followed.
    """
    match wanted.input:
        case CreateThread():
            return row["last"] or not row["cancelled"]
        case _:
            return row["last"] and row["thread_id"] == wanted.thread_id


# Join a turn; found by its fingerprint, not if someone else was faster, or if it is (being) cancelled.
JOIN = """
UPDATE turns SET joined_by = $3 WHERE owner_id = $1 AND id = $2 AND (
    $4 OR coalesce(joined_by, $3) = $3 AND NOT (state = 'cancelled' OR cancel_requested AND state = 'running')
)
RETURNING thread_id, state
"""


async def join(session: Session, owner: str, wanted: BeginTurn, earlier: Earlier) -> TurnJoined | None:
    """Let a request into its earlier turn, which is then deserted no more; None if that cannot be."""
    row = await session.fetchrow(JOIN, owner, earlier.turn_id, wanted.turn_id, earlier.known_by == "key")
    if row is None:
        return None
    state: TurnState = row["state"]
    return TurnJoined(turn_id=earlier.turn_id, thread_id=row["thread_id"], state=state)
