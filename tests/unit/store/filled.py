"""Databases of all sizes and shapes, each of which might tempt PostgreSQL into another plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.postgres import Postgres


async def fill_many_owners(connection: Any) -> None:
    """200 owners with 10 threads of 10 items."""
    await _fill(connection, owners=200, threads_each=10, items_each=10)


async def fill_one_owner(connection: Any) -> None:
    """One owner with 1,000 threads of 5 items, as with AUTH=none."""
    await _fill(connection, owners=1, threads_each=1000, items_each=5)


async def fill_long_thread(connection: Any) -> None:
    """One owner with a thread of 20,000 items."""
    await _fill(connection, owners=1, threads_each=1, items_each=20_000)


async def fill_little(connection: Any) -> None:
    """60 owners with a thread of one item: the first look PostgreSQL has at a young database."""
    await _fill(connection, owners=60, threads_each=1, items_each=1)


async def _fill(connection: Any, *, owners: int, threads_each: int, items_each: int) -> None:
    await connection.execute(
        """
        INSERT INTO threads (owner_id, id, created_at, status, metadata)
        SELECT 'o' || o, 't' || t, now() - t * interval '1 minute', '{}', '{}'
        FROM generate_series(1, $1) AS o, generate_series(1, $2) AS t
        """,
        owners,
        threads_each,
    )
    await connection.execute(
        """
        INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
        SELECT owner_id, threads.id, 'i' || i, i, 'end_of_turn', false, now(), '{}'
        FROM threads, generate_series(1, $1) AS i
        """,
        items_each,
    )
    await connection.execute(
        """
        INSERT INTO turns (owner_id, id, thread_id, message_id, state, ended_at)
        SELECT owner_id, 'u' || id, id, 'i1', 'completed', now() FROM threads
        """
    )
    await connection.execute("ANALYZE")


async def fill_nothing(connection: Any) -> None:
    """A database fresh from the migration, without statistics."""


FILLS = [fill_nothing, fill_little, fill_many_owners, fill_one_owner, fill_long_thread]


@pytest.fixture(scope="module", params=FILLS, ids=lambda fill: fill.__name__)
async def filled(request: pytest.FixtureRequest, postgres: Postgres) -> AsyncIterator[str]:
    async with postgres.migrated() as dsn:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin"})
        await request.param(connection)
        await connection.close()
        yield dsn


async def fill_leases(connection: Any) -> None:
    """2,000 turns of 200 owners under the leases of 4 gateways, with 20,000 chunks and as many changes."""
    await fill_many_owners(connection)
    await connection.execute(
        """
        INSERT INTO gateways (id, lease_until) SELECT 'gw_' || n, now() FROM generate_series(0, 3) AS n
        """
    )
    await connection.execute(
        """
        UPDATE turns SET state = 'running', ended_at = NULL, gateway_id = 'gw_' || right(owner_id, 1)::int % 4
        """
    )
    await connection.execute(
        """
        INSERT INTO journal (slot, owner_id, turn_id, first, last, data)
        SELECT n % 3, owner_id, id, n, n, 'x' FROM turns, generate_series(1, 10) AS n
        """
    )
    await connection.execute(
        """
        INSERT INTO changes (slot, owner_id, thread_id, turn_id)
        SELECT n % 3, owner_id, thread_id, id FROM turns, generate_series(1, 10) AS n
        """
    )
    await connection.execute(
        """
        INSERT INTO attachments (owner_id, id, thread_id, data)
        SELECT owner_id, id || n, CASE WHEN n > 1 THEN thread_id END, '{}'
        FROM turns, generate_series(1, 10) AS n
        """
    )
    await connection.execute(
        """
        INSERT INTO removed_blobs (owner_id, attachment_id) SELECT owner_id, 'x' || id FROM attachments
        """
    )
    await connection.execute("ANALYZE")


@pytest.fixture(scope="module", params=[fill_nothing, fill_leases], ids=lambda fill: fill.__name__)
async def leased(request: pytest.FixtureRequest, postgres: Postgres) -> AsyncIterator[str]:
    async with postgres.migrated() as dsn:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin"})
        await request.param(connection)
        await connection.close()
        yield dsn
