"""The pool: it serves owners in turn, each with their own rows, and outlives what becomes of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from bobbin_store import database
from bobbin_store.database import Database, open_database
from bobbin_store.errors import Conflict, Unavailable
from bobbin_store.settings import Settings
from tests.unit.store.conftest import TOKEN
from tests.unit.store.row_security import two_owners

__all__ = ["two_owners"]


@asynccontextmanager
async def opened(dsn: str, **settings: Any) -> AsyncIterator[Database]:
    async with open_database(dsn, Settings(store_token=TOKEN, **settings)) as pool:
        yield pool


async def test_one_connection_serves_owners_in_turn_and_shows_each_their_own_rows(two_owners: str) -> None:
    """The connection remembers its owner; nothing that goes wrong may make it remember the wrong one."""

    async def visible(owner: str) -> list[str]:
        async with pool.session(owner) as session:
            return [row["owner_id"] for row in await session.fetch("SELECT owner_id FROM threads")]

    async with opened(two_owners, store_pool_size=1) as pool:
        for owner in ("alice", "bob", "bob", "alice"):
            assert await visible(owner) == [owner]
        with pytest.raises(Conflict):
            async with pool.transaction("bob"):
                raise Conflict("rolled back")
        assert await visible("alice") == ["alice"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), pool.session("bob") as session:
                await session.fetch("SELECT pg_sleep(5)")
        assert await visible("alice") == ["alice"]


async def test_the_pool_steps_down_from_a_superuser(two_owners: str) -> None:
    async with opened(two_owners) as pool, pool.session("alice") as session:
        role = await session.fetchrow("SELECT session_user, current_user")
        assert role is not None
        assert role["session_user"] != role["current_user"] == "bobbin_app"
        assert await session.fetchval("SELECT count(*) FROM threads") == 1


async def test_a_connection_serves_one_owner_after_another(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=1) as pool:
        for owner in ["alice", "bob", "alice", "nobody"]:
            async with pool.session(owner) as session:
                owners_seen = [row["owner_id"] for row in await session.fetch("SELECT owner_id FROM items")]
            assert owners_seen == ([owner] if owner != "nobody" else [])


async def test_a_waiting_session_gets_the_next_connection_that_is_free(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=1, store_pool_wait_s=5) as pool:

        async def pid(owner: str) -> int:
            async with pool.session(owner) as session:
                return await session.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.01)")

        assert len(set(await asyncio.gather(*(pid(owner) for owner in ["alice", "bob"] * 5)))) == 1


async def test_a_connection_that_lay_idle_for_long_is_not_used_again(
    two_owners: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "IDLE_CONNECTION_S", 0.05)
    async with opened(two_owners, store_pool_size=1) as pool:
        pids: set[int] = set()
        for _ in range(2):
            async with pool.session("alice") as session:
                pids.add(await session.fetchval("SELECT pg_backend_pid()"))
            await asyncio.sleep(0.1)
        assert len(pids) == 2


async def test_the_pool_closes_while_a_session_is_still_in_use(two_owners: str) -> None:
    """A request that outlives the application's end cannot keep it from ending."""
    opening = opened(two_owners)
    pool = await opening.__aenter__()
    async with pool.session("alice") as session:
        closing = asyncio.create_task(opening.__aexit__(None, None, None))
        assert await session.fetchval("SELECT count(*) FROM threads, pg_sleep(0.05)") == 1
    async with asyncio.timeout(5):
        await closing


async def test_a_failed_transaction_leaves_nothing_and_the_owner_in_place(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=1) as pool:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 (what fails is the block)
            async with pool.transaction("alice") as session:
                await session.execute("DELETE FROM threads")
                raise ZeroDivisionError
        async with pool.session("bob") as session:
            assert await session.fetchval("SELECT owner_id FROM threads") == "bob"
        async with pool.session("alice") as session:
            assert await session.fetchval("SELECT count(*) FROM threads") == 1


async def test_a_statement_that_takes_too_long_is_stopped(two_owners: str) -> None:
    async with opened(two_owners, store_statement_timeout_s=0.05) as pool:
        with pytest.raises(Unavailable):
            async with pool.session("alice") as session:
                await session.execute("SELECT pg_sleep(30)")


async def test_a_request_does_not_wait_for_a_connection_for_ever(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=1, store_pool_wait_s=2) as pool, pool.session("alice"):
        with pytest.raises(Unavailable):
            async with pool.session("bob"):
                pytest.fail("there was no connection to have")


async def test_a_connection_that_the_server_closed_is_replaced(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=2) as pool:
        async with pool.session("alice") as session:
            pid = await session.fetchval("SELECT pg_backend_pid()")
        admin = await asyncpg.connect(two_owners)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        await admin.close()
        async with asyncio.timeout(5):
            while True:
                try:
                    async with pool.session("alice") as session:
                        assert await session.fetchval("SELECT pg_backend_pid()") != pid
                    break
                except Unavailable:  # the news of its end may be on its way
                    continue


async def ended_by_the_server(dsn: str, pool: Database) -> None:
    """Have the server hang up on the connections at hand, and wait until that is known."""
    admin = await asyncpg.connect(dsn)
    for connection, _ in pool._at_hand:
        await admin.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
    await admin.close()
    async with asyncio.timeout(5):
        while not all(database._is_closed(connection) for connection, _ in pool._at_hand):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_was_done_stays_done_though_the_connection_that_lay_idle_for_longest_is_gone(
    two_owners: str,
) -> None:
    """Whoever gives a connection back lets go of the oldest, too, if that is no good any more."""
    async with opened(two_owners, store_pool_size=2, store_pool_wait_s=1) as pool:
        async with pool.session("alice"), pool.session("bob"):
            pass
        async with pool.session("alice") as session:
            await session.execute("UPDATE threads SET title = 'kept'")
            await ended_by_the_server(two_owners, pool)
            [(oldest, _)] = pool._at_hand
            pool._at_hand[0] = (oldest, 0)
        async with pool.session("alice") as session, pool.session("bob"):  # its place is free again
            assert await session.fetchval("SELECT title FROM threads") == "kept"


async def test_connections_that_the_server_closed_are_not_in_use(two_owners: str) -> None:
    async with opened(two_owners, store_pool_size=2) as pool:
        async with pool.session("alice"), pool.session("bob"):
            pool.sample()
            assert in_use() == 2
        await ended_by_the_server(two_owners, pool)
        pool.sample()
        assert in_use() == 0


def in_use() -> float | None:
    return REGISTRY.get_sample_value("bobbin_store_pool_connections_in_use", {})
