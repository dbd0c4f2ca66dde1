"""Feedback: one opinion per item."""

from __future__ import annotations

from bobbin_protocol.store.feedback import Feedback, NewFeedback
from bobbin_store import threads
from bobbin_store.database import Database, Row
from bobbin_store.errors import InvalidRequest

MAX_ITEMS = 1000

# Note one opinion on several items, in place of earlier ones.
PUT = """
INSERT INTO feedback (owner_id, thread_id, item_id, kind)
SELECT $1, $2, item_id, $4 FROM unnest($3::text[]) AS item_id
ON CONFLICT ON CONSTRAINT feedback_pkey DO UPDATE SET kind = excluded.kind, created_at = now()
"""


async def put(database: Database, owner: str, thread_id: str, wanted: NewFeedback) -> None:
    """Note an opinion, all or nothing.

    Raises:
        InvalidRequest: Too many items at once.
        NotFound: One of the items is not in the thread.
    """
    if len(wanted.item_ids) > MAX_ITEMS:
        raise InvalidRequest(f"At most {MAX_ITEMS} items at once", field="$.item_ids")
    async with database.session(owner) as session:
        await session.execute(PUT, owner, thread_id, sorted(set(wanted.item_ids)), wanted.kind)


# All opinions in a thread, in the order of its items.
LIST = """
SELECT feedback.thread_id, feedback.item_id, feedback.kind, feedback.created_at
FROM feedback JOIN items
ON items.owner_id = feedback.owner_id AND items.thread_id = feedback.thread_id AND items.id = feedback.item_id
WHERE feedback.owner_id = $1 AND feedback.thread_id = $2
ORDER BY items.seq
"""


async def in_thread(database: Database, owner: str, thread_id: str) -> list[Feedback]:
    """Give all opinions in a thread.

    Raises:
        NotFound: There is no such thread.
    """
    async with database.session(owner) as session:
        await threads.get(session, owner, thread_id)
        return [feedback_of(row) for row in await session.fetch(LIST, owner, thread_id)]


def feedback_of(row: Row) -> Feedback:
    return Feedback(
        thread_id=row["thread_id"], item_id=row["item_id"], kind=row["kind"], created_at=row["created_at"]
    )
