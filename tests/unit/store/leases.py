"""What tests of leases, journal and claims share: gateways, turns under their lease, chunks, held locks."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.unit.store.conftest import Store, begin

LEASE_S = 60.0


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Any]:
    """A connection that sees everything, to look behind the store's back and to hold locks."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "bobbin"})
    yield connection
    await connection.close()


async def alive(store: Store, *gateway_ids: str, lease_s: float = LEASE_S) -> None:
    """Gateways with a lease."""
    for gateway_id in gateway_ids:
        assert (await store.put(f"/gateways/{gateway_id}", {"lease_s": lease_s}))["alive"]


async def settled(store: Store, admin: Any, *gateway_ids: str) -> None:
    """Gateways that have held a lease for as long as one lasts: they may claim."""
    await alive(store, *gateway_ids)
    await admin.execute("UPDATE gateways SET claims_from = now() WHERE id = ANY ($1)", gateway_ids)


async def lapse(admin: Any, gateway_id: str) -> None:
    """Let a lease lapse without waiting for it."""
    await admin.execute(
        "UPDATE gateways SET lease_until = now() - interval '1 second' WHERE id = $1", gateway_id
    )


async def time_passes(admin: Any, seconds: float) -> None:
    """Let time go by for all leases without waiting for it."""
    await admin.execute(
        "UPDATE gateways SET (lease_until, claims_from) = (lease_until - $1::interval, claims_from - $1)",
        timedelta(seconds=seconds),
    )


async def turn(store: Store, turn_id: str, gateway_id: str, thread_id: str | None = None) -> Any:
    """A turn in a new thread, `t-<turn_id>` by default, under a gateway's lease."""
    body = {**begin(turn_id, thread_id or f"t-{turn_id}"), "gateway_id": gateway_id}
    return await store.post("/turns", body)


async def cancel(store: Store, turn_id: str) -> None:
    """Someone asks for the turn to be stopped."""
    await store.post(f"/turns/{turn_id}/cancel", {})


async def finish(store: Store, turn_id: str, gateway_id: str, state: str = "completed") -> None:
    """The end of a turn."""
    await store.post(f"/turns/{turn_id}/finish", {"state": state, "gateway_id": gateway_id})


async def claim(store: Store, gateway_id: str, **wanted: Any) -> list[Any]:
    return (await store.post(f"/gateways/{gateway_id}/claims", wanted))["turns"]


def chunk(first: int, last: int | None = None, data: bytes | None = None) -> dict[str, Any]:
    """Events `first` to `last`, each of them `<number>;` by default."""
    last = first if last is None else last
    text = "".join(f"{number};" for number in range(first, last + 1)).encode()
    return {"first": first, "last": last, "data": text if data is None else data}


def entry(
    turn_id: str, first: int, last: int | None = None, *, owner: str = "alice", **fields: Any
) -> dict[str, Any]:
    return {"owner_id": owner, "turn_id": turn_id, "chunk": chunk(first, last), **fields}


async def write(store: Store, gateway_id: str, *entries: dict[str, Any]) -> Any:
    return await store.post(f"/gateways/{gateway_id}/journal", {"entries": list(entries)})


def text_of(chunks: list[Any]) -> str:
    """The data of chunks as they came back, in either format."""
    return b"".join(base64.b64decode(one["data"]) for one in chunks).decode()


async def journal_of(admin: Any, turn_id: str) -> str:
    """All that the journal has of a turn; once what was written again when the next slot had begun."""
    chunks = "SELECT DISTINCT ON (first, owner_id) data FROM journal WHERE turn_id = $1 ORDER BY first"
    rows = await admin.fetch(chunks, turn_id)
    return b"".join(row["data"] for row in rows).decode()


@asynccontextmanager
async def held(admin: Any, statement: str, *args: object) -> AsyncIterator[None]:
    """A transaction that has run a statement and goes on holding its locks until the block ends."""
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute(statement, *args)
    try:
        yield
    finally:
        await transaction.commit()


# (Within a transaction pg_stat_activity shows only the connections that were there when it was first read.)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def blocked(admin: Any) -> None:
    """Return once a statement waits for a lock."""
    async with asyncio.timeout(10):
        while True:
            if await admin.fetchval(WAITING):
                return
            await asyncio.sleep(0.005)
