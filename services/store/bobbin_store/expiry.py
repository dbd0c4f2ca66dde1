"""Expiry: journal and changes are emptied a slot at a time, which costs the same for any number of rows.

Time is cut into periods of ten minutes, and each writes to the next of three slots. In every period one store
empties the slot that the next period will write to, last written to in the period before the last one: so all
that is removed is at least ten minutes old. What turns that still run have there is carried over first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import structlog

from bobbin_store.database import EVERY_OWNER, Database
from bobbin_store.errors import StoreError

log = structlog.stdlib.get_logger()

LOOK_EVERY_S: Final = 60.0

LOCK_KEY: Final = 4_817_004_002
LOCK_TIMEOUT_MS: Final = 500
"""Whoever reads or writes waits behind us as long as we wait for a slot: so not for long."""

# Wait for locks this long only.
LIMIT = "SELECT set_config('lock_timeout', $1, true)"

# The slot that comes next, for the one store that gets the lock, and neither near the beginning of a period
# nor near its end: no clock, and nothing that waits, may bring us to a slot that is in use.
DUE = """
SELECT CASE WHEN journal_slot(moment - interval '1 minute') = journal_slot(moment + interval '1 minute')
    AND pg_try_advisory_xact_lock($2) THEN journal_slot(moment + interval '10 minutes') END
FROM coalesce($1::timestamptz, now()) AS moment
"""

# Whether there is anything in a slot.
FILLED = "SELECT EXISTS (SELECT FROM journal WHERE slot = $1) OR EXISTS (SELECT FROM changes WHERE slot = $1)"

# Write again, to the slot in use, what turns that still run have in this one.
CARRY_OVER = """
INSERT INTO journal (slot, owner_id, turn_id, first, last, data)
SELECT journal_slot(coalesce($2::timestamptz, now())), chunk.owner_id, chunk.turn_id, chunk.first, chunk.last,
    chunk.data
FROM turns CROSS JOIN LATERAL (
    SELECT owner_id, turn_id, first, last, data FROM journal
    WHERE journal.owner_id = turns.owner_id AND journal.turn_id = turns.id AND journal.slot = $1
    OFFSET 0
) AS chunk
WHERE turns.gateway_id IS NOT NULL AND turns.ended_at IS NULL
ON CONFLICT DO NOTHING
"""

EMPTY_0 = "TRUNCATE journal_0, changes_0"
EMPTY_1 = "TRUNCATE journal_1, changes_1"
EMPTY_2 = "TRUNCATE journal_2, changes_2"
EMPTY: Final = (EMPTY_0, EMPTY_1, EMPTY_2)

# Forget gateways that died long ago.
FORGET = (
    "DELETE FROM gateways WHERE dead AND lease_until < coalesce($1::timestamptz, now()) - interval '1 hour'"
)


async def expire(database: Database, moment: datetime | None = None) -> int | None:
    """Empty the slot that comes next, if that is due; give its number then.

    Args:
        database: Whose journal and changes.
        moment: When this happens, now by default.

    Raises:
        Unavailable: The database is away, or the slot is being read for longer than we wait.
    """
    async with database.transaction(EVERY_OWNER) as session:
        await session.execute(LIMIT, f"{LOCK_TIMEOUT_MS}ms")
        slot: int | None = await session.fetchval(DUE, moment, LOCK_KEY)
        if slot is None:
            return None
        await session.execute(FORGET, moment)
        if not await session.fetchval(FILLED, slot):
            return None
        await session.execute(CARRY_OVER, slot, moment)
        await session.execute(EMPTY[slot])
    log.info("journal and changes expired", slot=slot)
    return slot


@asynccontextmanager
async def expiring(database: Database, look_every_s: float = LOOK_EVERY_S) -> AsyncGenerator[None]:
    """Expire in the background until the block ends."""
    task = asyncio.create_task(_keep_expiring(database, look_every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep_expiring(database: Database, look_every_s: float) -> None:
    while True:
        await asyncio.sleep(look_every_s)
        try:
            await expire(database)
        except StoreError as error:
            log.info("nothing expired, will try again", reason=str(error))
        except Exception:  # a mistake of ours must not end what keeps the database small
            log.exception("expiry failed, will try again")
