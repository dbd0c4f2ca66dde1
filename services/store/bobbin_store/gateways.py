"""Gateways' leases: each covers all turns that the gateway began or took over."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from bobbin_protocol.store.gateways import LeaseRenewed, RenewLease
from bobbin_store.database import EVERY_OWNER, Database

NOBODY: Final = " released"
"""The gateway of turns that were given up. No gateway can be called so."""

# Register a gateway or renew its lease, unless it is dead; give up turns of its own ($5); find those to stop.
# Giving up changes the gateway's row as well: so a journal write under way notices (see `journal.WRITE`).
#
# Who is new, or whose lease had lapsed, may claim a lease's length later. A renewal that had to wait goes by
# when it began (`now()`): its lease is over the sooner, so a gap that it does not see the next one does.
RENEW = """
WITH renewed AS (
    INSERT INTO gateways (id, lease_until, claims_from) VALUES ($1, now() + $2, now() + $2)
    ON CONFLICT ON CONSTRAINT gateways_pkey DO UPDATE SET
        lease_until = excluded.lease_until,
        claims_from = CASE
            WHEN gateways.lease_until < now() THEN excluded.claims_from ELSE gateways.claims_from
        END
    WHERE NOT gateways.dead
    RETURNING id
), released AS (
    UPDATE turns SET gateway_id = $5
    FROM renewed, unnest($3::text[], $4::text[]) AS given (owner_id, id)
    WHERE turns.owner_id = given.owner_id AND turns.id = given.id
    AND turns.gateway_id = renewed.id AND turns.ended_at IS NULL
    RETURNING turns.id
)
SELECT EXISTS (SELECT FROM renewed) AS alive, ARRAY (
    SELECT id FROM turns
    WHERE gateway_id = $1 AND ended_at IS NULL AND (cancel_requested OR state <> 'running')
) AS stop
"""


async def renew(database: Database, gateway_id: str, wanted: RenewLease) -> LeaseRenewed:
    """Register a gateway, or renew its lease, and say which of its turns it should stop."""
    given = wanted.released
    async with database.session(EVERY_OWNER) as session:
        row = await session.fetchrow(
            RENEW,
            gateway_id,
            timedelta(seconds=wanted.lease_s),
            [turn.owner_id for turn in given],
            [turn.turn_id for turn in given],
            NOBODY,
        )
    assert row is not None  # noqa: S101 (a SELECT without FROM has one row)
    if not row["alive"]:
        return LeaseRenewed(alive=False)
    released = {turn.turn_id for turn in given}
    return LeaseRenewed(alive=True, stop=[turn_id for turn_id in row["stop"] if turn_id not in released])
