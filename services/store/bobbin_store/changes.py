"""Changes: what happens in threads, kept for a while for those who watch them.

One row for each turn that begins, and for each event that is no turn's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias, cast

from bobbin_protocol.events import ThreadItemDoneEvent, ThreadItemReplacedEvent, ThreadStreamEvent
from bobbin_protocol.feed import ThreadDeletedEvent
from bobbin_protocol.items import StoredItem, ThreadItem, for_client
from bobbin_protocol.store.watch import Change, Changes, WatchedChanges
from bobbin_protocol.wire import encode_json
from bobbin_store.database import Row, Session
from bobbin_store.positions import Position, Snapshot

Event: TypeAlias = ThreadStreamEvent | ThreadDeletedEvent

# Tell of events in a thread, in this order.
TELL = """
INSERT INTO changes (owner_id, thread_id, event)
SELECT $1, $2, told.event FROM unnest($3::bytea[]) AS told (event)
"""


async def tell(session: Session, owner: str, thread_id: str, *events: Event) -> None:
    """Tell whoever watches the thread of these events, once the transaction is committed."""
    if events:
        await session.execute(TELL, owner, thread_id, [encode_json(event) for event in events])


def done(item: StoredItem) -> Event:
    """Give the event of an item that has come, with the fields that this version does not know."""
    return ThreadItemDoneEvent(item=cast("ThreadItem", for_client(item)))


def replaced(item: StoredItem) -> Event:
    """Give the event of an item that has taken the place of the one with its id."""
    return ThreadItemReplacedEvent(item=cast("ThreadItem", for_client(item)))


KEPT_S: Final = 600
"""How long changes and journal are there at least (see `expiry`)."""

MOST: Final = 500
"""Changes in one answer, of one who watches."""

# What each has not seen yet ($4), of all that can be seen now, or could be when it was found ($5, behind $6),
# in the order of its making; a row without a change for each who has seen it all.
NEXT = """
SELECT watched.number, (SELECT pg_current_snapshot()::text) AS snapshot,
    (SELECT extract(epoch FROM now())::bigint) AS now,
    change.id, change.thread_id, change.turn_id, change.event
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
    WITH ORDINALITY AS watched (owner_id, thread_id, start, seen, found, last_id, number)
LEFT JOIN LATERAL (
    SELECT id, thread_id, turn_id, event FROM changes
    WHERE changes.owner_id = watched.owner_id AND changes.transaction >= watched.start
    AND (watched.thread_id IS NULL OR changes.thread_id = watched.thread_id)
    AND NOT pg_visible_in_snapshot(changes.transaction::text::xid8, watched.seen::pg_snapshot)
    AND (watched.found IS NULL OR changes.id > watched.last_id
        AND pg_visible_in_snapshot(changes.transaction::text::xid8, watched.found::pg_snapshot))
    ORDER BY id LIMIT $7
) AS change ON true
"""

# The turns that run, for each who begins to watch: all others begin later than this snapshot. (OFFSET 0 keeps
# the turns of other owners out of it: without it one could look at all that run, and pick.)
RUNNING = """
SELECT watched.number, (SELECT pg_current_snapshot()::text) AS snapshot,
    (SELECT extract(epoch FROM now())::bigint) AS now, turn.id AS turn_id, turn.thread_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS watched (owner_id, thread_id, number)
LEFT JOIN LATERAL (
    SELECT id, thread_id FROM turns
    WHERE turns.owner_id = watched.owner_id AND turns.state = 'running'
    AND (watched.thread_id IS NULL OR turns.thread_id = watched.thread_id)
    OFFSET 0
) AS turn ON true
"""


async def look(session: Session, watched: Sequence[WatchedChanges]) -> list[Changes]:
    """Say what has changed for each, since its position; who has none begins now.

    Raises:
        InvalidRequest: A position is not one of ours.
    """
    positions = [
        None if one.after is None else Position.parse(one.after, field=f"$.changes[{index}].after")
        for index, one in enumerate(watched)
    ]
    answers = await _next(session, watched, positions)
    anew = [index for index in range(len(watched)) if index not in answers]
    begun = await _begin(session, [watched[index] for index in anew])
    for index, answer in zip(anew, begun, strict=True):
        answer.expired = positions[index] is not None
        answers[index] = answer
    return [answers[index] for index in range(len(watched))]


async def _next(
    session: Session, watched: Sequence[WatchedChanges], positions: Sequence[Position | None]
) -> dict[int, Changes]:
    """Go on from each position that still holds; by the index of who watches."""
    known = [(index, position) for index, position in enumerate(positions) if position is not None]
    if not known:
        return {}
    rows = await session.fetch(
        NEXT,
        [watched[index].owner_id for index, _ in known],
        [watched[index].thread_id for index, _ in known],
        [position.seen.start for _, position in known],
        [position.seen.sql for _, position in known],
        [None if position.found is None else position.found.sql for _, position in known],
        [position.last_id for _, position in known],
        MOST,
    )
    return {
        index: _changes(position, own)
        for (index, position), own in zip(known, by_number(rows, len(known)), strict=True)
        if _holds(position, own[0])
    }


def _holds(position: Position, row: Row) -> bool:
    """Whether all changes since are there. What lies in the future is from before a restore."""
    return position.at >= row["now"] - KEPT_S and position.seen.end <= Snapshot.of(row["snapshot"]).end


def _changes(before: Position, rows: Sequence[Row]) -> Changes:
    snapshot = Snapshot.of(rows[0]["snapshot"])
    found = before.found or snapshot
    after = Position(rows[0]["now"] if before.found is None else before.at, found)
    told = [row for row in rows if row["id"] is not None]
    positions = [before._replace(found=found, last_id=row["id"]) for row in told]
    if len(told) == MOST:
        after = positions[-1]
    elif told:
        positions[-1] = after
    return Changes(
        position=str(after),
        changes=[_change(row, position) for row, position in zip(told, positions, strict=True)],
    )


async def _begin(session: Session, watched: Sequence[WatchedChanges]) -> list[Changes]:
    """Begin now, with the turns that run."""
    if not watched:
        return []
    owners, thread_ids = [one.owner_id for one in watched], [one.thread_id for one in watched]
    rows = await session.fetch(RUNNING, owners, thread_ids)
    return [_running(own) for own in by_number(rows, len(watched))]


def _running(rows: Sequence[Row]) -> Changes:
    """Tell of the turns that run. Who breaks off before the last of them has to begin anew."""
    now = Position(rows[0]["now"], Snapshot.of(rows[0]["snapshot"]))
    told = [row for row in rows if row["turn_id"] is not None]
    return Changes(
        position=str(now),
        changes=[_change(row, now if row is told[-1] else now._replace(at=0)) for row in told],
    )


def by_number(rows: Sequence[Row], count: int) -> list[list[Row]]:
    """Take rows apart by their `number`, from 1 to `count`."""
    own: list[list[Row]] = [[] for _ in range(count)]
    for row in rows:
        number: int = row["number"]
        own[number - 1].append(row)
    return own


def _change(row: Row, position: Position) -> Change:
    return Change(
        thread_id=row["thread_id"],
        turn_id=row["turn_id"],
        event=row.get("event"),
        position=str(position),
    )
