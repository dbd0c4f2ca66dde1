"""The database: two walls between owners, statements that fit and run on an index."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from bobbin_store import (
    attachments,
    blobs,
    changes,
    claims,
    database,
    expiry,
    feedback,
    gateways,
    items,
    journal,
    migrate,
    owners,
    threads,
    watch,
)
from bobbin_store.database import PLANNING, Database, open_database
from bobbin_store.errors import Conflict, Unavailable
from bobbin_store.settings import Settings
from bobbin_store.turns import begin, cancel, early, finish, follow_up, join, record, result, retry
from tests.postgres import Postgres
from tests.unit.store.conftest import TOKEN, Store, running_app

TURNS = [begin, retry, follow_up, join, early, finish, cancel, record, result]
RUNNING = [gateways, claims, journal, changes, watch, expiry]
MODULES = [threads, items, *TURNS, *RUNNING, attachments, blobs, feedback, owners, database, migrate]
TABLES = ["threads", "items", "turns", "attachments", "feedback", "journal", "changes", "removed_blobs"]


def statements(module: ModuleType) -> dict[str, str]:
    """The SQL of a module: its constants in capitals that begin like a statement."""
    verb = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|TRUNCATE|WITH|SET)\b")
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and verb.match(value)
    }


ALL_STATEMENTS = {
    f"{module.__name__.removeprefix('bobbin_store.')}.{name}": sql
    for module in MODULES
    for name, sql in statements(module).items()
}


@asynccontextmanager
async def plain_connection(dsn: str, owner: str | None = None) -> AsyncIterator[Any]:
    """A connection like those of the pool: the same settings, and a role that row-level security binds."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin", **PLANNING})
    try:
        await connection.execute("SET ROLE bobbin_app")
        if owner is not None:
            await connection.execute(database.OWNER, owner)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def opened(dsn: str, **settings: Any) -> AsyncIterator[Database]:
    async with open_database(dsn, Settings(store_token=TOKEN, **settings)) as pool:
        yield pool


def test_there_are_statements_to_test() -> None:
    assert len(ALL_STATEMENTS) >= 40
    assert {"turns.begin.OPEN_AND_APPEND", "threads.PAGE_ASC", "owners.ERASE_ITEMS"} <= set(ALL_STATEMENTS)


@pytest.mark.parametrize("sql", ALL_STATEMENTS.values(), ids=ALL_STATEMENTS.keys())
async def test_every_statement_fits_the_schema(migrated: str, sql: str) -> None:
    async with plain_connection(migrated) as connection:
        await connection.prepare(sql)


@pytest.fixture(scope="module")
async def migrated(postgres: Postgres) -> AsyncIterator[str]:
    async with postgres.migrated() as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def two_owners(postgres: Postgres) -> AsyncIterator[str]:
    """A database in which alice and bob have something in every table."""
    async with postgres.migrated() as dsn:
        async with running_app(dsn) as http:
            for owner in ["alice", "bob"]:
                store = Store(http, owner, "json")
                await store.post("/turns", _begin_body("u1", "t1"))
                await store.post("/threads/t1/feedback", {"item_ids": ["m1"], "kind": "positive"})
                attachment = {"type": "file", "id": "f", "name": "n", "mime_type": "x/y"}
                await store.post("/attachments", attachment)
                await store.post("/attachments", attachment | {"id": "g"})
                await store.delete("/attachments/g")
                chunk = {"first": 1, "last": 1, "data": "ZGF0YTogMQoK"}
                await store.post("/turns/u1/finish", {"state": "completed", "journal": [chunk]})
        yield dsn


def _begin_body(turn_id: str, thread_id: str) -> dict[str, Any]:
    message = {
        "type": "user_message",
        "id": "m1",
        "thread_id": thread_id,
        "created_at": "2026-01-01T00:00:00Z",
        "content": [],
        "inference_options": {},
    }
    return {
        "turn_id": turn_id,
        "thread_id": thread_id,
        "input": {"type": "create_thread", "message": message},
    }


@pytest.mark.parametrize("table", TABLES)
async def test_without_an_owner_no_row_is_visible(two_owners: str, table: str) -> None:
    async with plain_connection(two_owners) as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_other_owners_are_neither_seen_nor_changed_nor_made(
    two_owners: str, table: str
) -> None:
    async with plain_connection(two_owners, "alice") as connection:
        seen = await connection.fetch(f"SELECT owner_id FROM {table}")
        assert [row["owner_id"] for row in seen] == ["alice"]
        assert (
            await connection.execute(f"UPDATE {table} SET owner_id = owner_id WHERE owner_id = 'bob'")
            == "UPDATE 0"
        )
        assert await connection.execute(f"DELETE FROM {table} WHERE owner_id = 'bob'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(f"UPDATE {table} SET owner_id = 'carol'")


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


# Plans: which index each statement must use, and on how many columns.

FULL_KEYS = {
    "threads_pkey": 2,
    "threads_by_creation": 2,
    "items_pkey": 3,
    "items_by_seq": 2,
    "turns_pkey": 2,
    "turns_one_running": 2,
    "turns_by_key": 2,
    "turns_deserted": 3,
    "turns_by_thread": 2,
    "attachments_pkey": 2,
}

KNOWN_BY = {"turns_pkey", "turns_by_key", "turns_deserted"}
"""How a request that came before is found."""

EXPECTED = [
    (threads.GET, {"threads_pkey"}),
    (threads.LOCK, {"threads_pkey"}),
    (threads.POSITION, {"threads_pkey"}),
    (threads.PAGE_ASC, {"threads_by_creation"}),
    (threads.PAGE_DESC, {"threads_by_creation"}),
    (threads.CHANGE, {"threads_pkey"}),
    (items.GET, {"items_pkey"}),
    (items.POSITION, {"items_pkey"}),
    (items.PAGE_ASC, {"items_by_seq", "turns_one_running"}),
    (items.PAGE_DESC, {"items_by_seq", "turns_one_running"}),
    (items.ADD, {"threads_pkey"}),
    (items.EMPTY_PAGE, {"threads_pkey", "turns_one_running"}),
    (begin.CREATE_THREAD, {*KNOWN_BY, "attachments_pkey"}),
    (
        begin.OPEN_AND_APPEND,
        {*KNOWN_BY, "threads_pkey", "items_by_seq", "turns_one_running", "attachments_pkey"},
    ),
    (
        retry.OPEN_AND_CUT,
        {*KNOWN_BY, "threads_pkey", "items_pkey", "items_by_seq", "turns_one_running"},
    ),
    (retry.TAKE, {"turns_pkey"}),
    (
        follow_up.OPEN,
        {*KNOWN_BY, "threads_pkey", "items_pkey", "items_by_seq", "turns_one_running"},
    ),
    (follow_up.CALLS, {"items_by_seq"}),
    (follow_up.ITEM, {"items_pkey"}),
    (follow_up.SINCE, {"items_by_seq"}),
    (join.BEGUN, {"turns_pkey", "items_pkey", "items_by_seq"}),
    (join.BY_KEY, {"turns_by_key"}),
    (join.BY_FINGERPRINT, {"turns_deserted", "turns_by_thread"}),
    (join.JOIN, {"turns_pkey"}),
    (early.ADD, {"turns_pkey", "threads_pkey"}),
    (finish.END, {"turns_pkey", "threads_pkey", "items_pkey"}),
    (cancel.CANCEL, {"turns_pkey"}),
    (cancel.DESERT, {"turns_pkey"}),
    (cancel.JOIN, {"turns_pkey"}),
    (record.GET, {"turns_pkey"}),
    (result.RESULT, {"turns_pkey", "threads_pkey", "items_pkey", "items_by_seq"}),
    (attachments.GET, {"attachments_pkey"}),
    (attachments.LOCK, {"attachments_pkey"}),
    (attachments.COMPLETE, {"attachments_pkey"}),
    (attachments.FIND, {"attachments_pkey"}),
]


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


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def plan_of(dsn: str, sql: str) -> dict[str, Any]:
    """How a connection of the pool would run a statement, whatever its parameters."""
    async with plain_connection(dsn) as connection:
        kinds = [kind.name for kind in (await connection.prepare(sql)).get_parameters()]
        await connection.execute(f"PREPARE hot AS {sql}")
        values = ", ".join("'o1'" if kind == "text" else "NULL" for kind in kinds)
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot({values})")
    return json.loads(plan)[0]["Plan"]


def index_of(node: dict[str, Any]) -> str:
    """The index that a step of a plan runs along; of a part, as that of the whole table."""
    return re.sub(r"_p\d+$", "", node["Index Name"])


def first_line(sql: str) -> str:
    """A name for a statement."""
    return sql.strip().split("\n")[0][:40]


@pytest.mark.parametrize(
    ("sql", "indexes"),
    EXPECTED,
    ids=[first_line(sql) for sql, _ in EXPECTED],
)
async def test_every_hot_statement_runs_along_its_index(filled: str, sql: str, indexes: set[str]) -> None:
    plan = await plan_of(filled, sql)
    used = [(index_of(node), node) for node in nodes(plan) if "Index Name" in node]
    assert {name for name, _ in used} == indexes
    assert not [node["Node Type"] for node in nodes(plan) if node["Node Type"] in {"Seq Scan", "Sort"}]
    for name, node in used:
        columns = re.findall(r"(?<![.\w])(?:\w+\.)?(\w+)\b(?= [=<>]|,)", node["Index Cond"])
        assert len(set(columns)) >= FULL_KEYS[name], node["Index Cond"]


# Calls for many owners at once: which indexes they may use, and on how many columns at least. They may go
# through all gateways, and leap from one holder of leases to the next: there are few.

JOURNAL = {"journal_0_pkey": 2, "journal_1_pkey": 2, "journal_2_pkey": 2}
CHANGES = {"changes_0_pkey": 2, "changes_1_pkey": 2, "changes_2_pkey": 2}

EXPECTED_FOR_MANY = [
    (gateways.RENEW, {"turns_leased": 1, "turns_pkey": 2}),
    (claims.DECLARE_DEAD, {"gateways_pkey": 0}),
    (claims.ORPHANED, {"turns_leased": 0, "gateways_pkey": 0}),
    (claims.TAKE, {"turns_pkey": 2}),
    (claims.UNKNOWN, {"turns_leased": 1}),
    (journal.WRITE, {"gateways_pkey": 1, "turns_pkey": 2} | dict.fromkeys(JOURNAL, 3)),
    (journal.READ, JOURNAL),
    (watch.PROGRESS, {"turns_pkey": 2} | dict.fromkeys(JOURNAL, 3)),
    (changes.NEXT, CHANGES),
    (changes.RUNNING, {"turns_one_running": 1}),
    (blobs.FORGET_UNSENT, {"attachments_unsent": 1, "attachments_pkey": 2}),
    (blobs.TAKE_DUE, {"removed_blobs_by_due": 1, "removed_blobs_pkey": 2}),
    (blobs.FORGET_GONE, {"removed_blobs_pkey": 2}),
    (blobs.POSTPONE, {"removed_blobs_pkey": 2}),
]


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


@pytest.mark.parametrize(
    ("sql", "indexes"), EXPECTED_FOR_MANY, ids=[first_line(sql) for sql, _ in EXPECTED_FOR_MANY]
)
async def test_calls_for_many_owners_run_along_an_index_for_each(
    leased: str, sql: str, indexes: dict[str, int]
) -> None:
    plan = list(nodes(await plan_of(leased, sql)))
    assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    used = [node for node in plan if "Index Name" in node]
    assert {index_of(node) for node in used} <= set(indexes)
    for node in used:
        found = re.findall(r"(?<![.\w])(?:\w+\.)?(\w+)\b(?= [=<>]|,)", node.get("Index Cond", ""))
        assert len(set(found)) >= indexes[index_of(node)], node


async def test_no_statement_is_compiled(database_url: str) -> None:
    """Up to PostgreSQL 17 a sort that cannot be avoided looks so dear that JIT would be used for it."""
    settings = Settings(store_token=TOKEN, database_url=database_url)
    async with open_database(database_url, settings) as opened, opened.session("a") as session:
        assert await session.fetchval("SHOW jit") == "off"
