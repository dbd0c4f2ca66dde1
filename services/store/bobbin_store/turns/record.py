"""What is known of a turn."""

from __future__ import annotations

import msgspec

from bobbin_protocol.store.turns import TurnBegun, TurnRecord, Usage
from bobbin_protocol.threads import ThreadMetadata
from bobbin_store import items
from bobbin_store.database import Database, Row, Session
from bobbin_store.errors import NotFound

decode_usage = msgspec.json.Decoder(Usage).decode

# One turn.
GET = """
SELECT id, thread_id, state, started_at, ended_at, usage, error, event_count, cancel_requested
FROM turns WHERE owner_id = $1 AND id = $2
"""


async def get(database: Database, owner: str, turn_id: str) -> TurnRecord:
    """Give what is known of a turn.

    Raises:
        NotFound: There is no such turn.
    """
    async with database.session(owner) as session:
        return await load(session, owner, turn_id)


async def load(session: Session, owner: str, turn_id: str) -> TurnRecord:
    """The same, within a session."""
    row = await session.fetchrow(GET, owner, turn_id)
    if row is None:
        raise NotFound("There is no such turn", field="turn_id")
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
        event_count=row["event_count"],
        cancel_requested=row["cancel_requested"],
    )


def begun(turn_id: str, thread: ThreadMetadata, history: list[bytes]) -> TurnBegun:
    """Say that a turn has begun, with its context, oldest item first and its message last."""
    documents = items.documents(history)
    return TurnBegun(turn_id=turn_id, thread=thread, history=documents, message=documents[-1])


def gone_on(turn_id: str, thread: ThreadMetadata, history: list[bytes], subject: bytes | None) -> TurnBegun:
    """Say that a turn without a message has begun, with its context, oldest item first."""
    return TurnBegun(
        turn_id=turn_id,
        thread=thread,
        history=items.documents(history),
        subject=None if subject is None else items.decode_item(subject),
    )
