"""Splitting by owner: no row is lost, nothing but the layout changes, and later migrations run on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

import bobbin_store.partition
from bobbin_store import items, threads
from bobbin_store.database import OWNER, PLANNING
from bobbin_store.errors import CannotStart
from bobbin_store.migrate import all_migrations, migrate
from bobbin_store.partition import partition, partition_database
from bobbin_store.turns import record
from tests.conftest import ROOT
from tests.unit.store.conftest import Store, file_attachment, running_app
from tests.unit.store.conftest import begin as begin_body

NEWEST = len(all_migrations())
SPLIT = ["attachments", "feedback", "items", "removed_blobs", "threads", "turns"]

# All that is said of a table but how it is laid out.
COLUMNS = """
SELECT class.relname, attname, atttypid::regtype::text, attnotnull, attcollation, pg_get_expr(adbin, adrelid),
    col_description(class.oid, attnum), class.relrowsecurity, class.relforcerowsecurity
FROM pg_class AS class JOIN pg_attribute ON attrelid = class.oid
LEFT JOIN pg_attrdef ON adrelid = class.oid AND adnum = attnum
WHERE relnamespace = 'bobbin'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = 'bobbin'::regnamespace AND NOT relispartition AND conparentid = 0 AND contype <> 'n'
ORDER BY 1, 2
"""
INDEXES = """
SELECT index.relname, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_class AS class ON class.oid = indrelid
WHERE class.relnamespace = 'bobbin'::regnamespace AND NOT class.relispartition ORDER BY 1
"""
AGE_OF_INDEXES = """
SELECT index.relname FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
JOIN pg_class AS class ON class.oid = indrelid
WHERE class.relnamespace = 'bobbin'::regnamespace AND NOT class.relispartition AND class.relname = ANY ($1)
ORDER BY class.relname, indexrelid
"""
TRIGGERS = """
SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = 'bobbin'::regnamespace AND NOT tgisinternal AND NOT relispartition ORDER BY 1
"""
POLICIES = """
SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies ORDER BY 1, 2
"""
GRANTS = """
SELECT class.relname, grantee::regrole::text, privilege_type, is_grantable
FROM pg_class AS class, aclexplode(relacl)
WHERE relnamespace = 'bobbin'::regnamespace AND NOT relispartition AND grantee <> relowner ORDER BY 1, 2, 3
"""


async def described(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    """What the schema says, apart from partitions."""
    everything = {
        "columns": COLUMNS,
        "constraints": CONSTRAINTS,
        "indexes": INDEXES,
        "triggers": TRIGGERS,
        "policies": POLICIES,
        "grants": GRANTS,
    }
    said = {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in everything.items()}
    ages = await connection.fetch(AGE_OF_INDEXES, SPLIT)
    return said | {"ages": [tuple(row) for row in ages]}


async def parts(connection: Any, table: str) -> list[str]:
    """The partitions of a table, by name."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = $1::regclass",
        f"bobbin.{table}",
    )
    return sorted(row["relname"] for row in rows)


async def contents(connection: Any) -> dict[str, list[str]]:
    """Every row of every table, as its owner sees it who sees all."""
    tables = [*SPLIT, "journal", "changes", "gateways", "migrations"]
    return {
        table: [
            row[0] for row in await connection.fetch(f"SELECT t::text FROM bobbin.{table} AS t ORDER BY 1")
        ]
        for table in tables
    }


@pytest.fixture
async def plain(empty_database_url: str) -> AsyncIterator[Any]:
    """A database that nobody has split, whatever the other tests run on."""
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, all_migrations())
    yield connection
    await connection.close()


async def converse(dsn: str, *owners: str) -> None:
    """Have something of each owner in every table."""
    async with running_app(dsn) as http:
        for owner in owners:
            store = Store(http, owner, "json")
            await store.post("/turns", begin_body("u1", "t1"))
            await store.post("/threads/t1/feedback", {"item_ids": ["m-u1"], "kind": "positive"})
            await store.post("/attachments", file_attachment("f"))
            await store.post("/attachments", file_attachment("g"))
            await store.delete("/attachments/g")
            chunk = {"first": 1, "last": 1, "data": "ZGF0YTogMQoK"}
            await store.post("/turns/u1/finish", {"state": "completed", "journal": [chunk]})
            await store.post("/turns", begin_body("u2", "t1", "add_user_message"))


async def test_nothing_but_the_layout_changes_and_every_row_stays(
    plain: Any, empty_database_url: str
) -> None:
    owners = [f"owner-{n}" for n in range(12)]
    await converse(empty_database_url, *owners)
    schema, rows = await described(plain), await contents(plain)
    assert len(rows["turns"]) == 24
    assert all(rows[table] for table in SPLIT)
    for count in (4, 7):  # the second time from partitions to partitions
        await partition_database(empty_database_url, count)
        assert await described(plain) == schema
        assert await contents(plain) == rows
        for table in SPLIT:
            assert await parts(plain, table) == sorted(f"{table}_p{n}" for n in range(count))
            filled = await plain.fetch(f"SELECT DISTINCT tableoid FROM bobbin.{table}")
            assert len(filled) > 1
    async with running_app(empty_database_url) as http:
        store = Store(http, "owner-3", "json")
        assert len(await store.item_ids("t1")) == 2
        await store.delete("/threads/t1")
        assert (await store.call("GET", "/threads/t1")).status == 404
    assert len((await contents(plain))["turns"]) == 22


@pytest.mark.parametrize("number", range(1, NEWEST))
async def test_later_migrations_run_on_what_is_split(plain: Any, postgres: Any, number: int) -> None:
    """With the names by which constraints are told; a table that they bring is split the next time."""
    async with postgres.empty() as dsn:
        connection = await asyncpg.connect(dsn)
        await migrate(connection, all_migrations()[:number])
        await partition(connection, 3, number)
        await migrate(connection, all_migrations())
        names = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'turns%\\_p2' ORDER BY 1"
        assert [row[0] for row in await connection.fetch(names)] == [
            "turns_by_key_p2",
            "turns_by_thread_p2",
            "turns_deserted_p2",
            "turns_leased_p2",
            "turns_one_running_p2",
            "turns_pkey_p2",
        ]
        assert await described(connection) == await described(plain)
        await partition(connection, 3, NEWEST)
        assert await parts(connection, "removed_blobs") == [f"removed_blobs_p{n}" for n in range(3)]
        assert await described(connection) == await described(plain)
        await connection.close()


async def test_a_store_at_work_goes_on_with_what_is_split_under_it(
    plain: Any, empty_database_url: str
) -> None:
    async with running_app(empty_database_url) as http:
        store = Store(http, "alice", "json")
        for n in range(3):
            await store.post("/turns", begin_body(f"u{n}", f"t{n}"))
        await partition_database(empty_database_url, 4)
        for n in range(3):
            assert await store.item_ids(f"t{n}") == [f"m-u{n}"]
        taken = await store.call("POST", "/threads", {"id": "t0"})
        assert (taken.status, taken.body["detail"]) == (409, "A thread with this id exists already")
        await store.post("/turns", begin_body("u3", "t0", "add_user_message"))
        assert await store.item_ids("t0") == ["m-u0", "m-u3"]
    assert await parts(plain, "turns") == [f"turns_p{n}" for n in range(4)]


def steps(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(step for child in plan.get("Plans", []) for step in steps(child))]


ONE_OWNER = {
    "threads": (threads.PAGE_DESC, threads.PAGE_ASC, threads.GET),
    "items": (items.PAGE_DESC, items.PAGE_ASC, items.GET),
    "turns": (record.GET,),
}
ARGUMENTS = {
    threads.PAGE_DESC: "'o7', 'infinity', 'zzz', 20",
    threads.PAGE_ASC: "'o7', '-infinity', '', 20",
    threads.GET: "'o7', 't1'",
    items.PAGE_DESC: f"'o7', 't1', {items.LAST_SEQ}, 20, true",
    items.PAGE_ASC: "'o7', 't1', 0, 20, true",
    items.GET: "'o7', 't1', 'i1'",
    record.GET: "'o7', 'u1'",
}


@pytest.mark.parametrize(
    ("table", "sql"), [(table, sql) for table, all_ in ONE_OWNER.items() for sql in all_]
)
async def test_a_page_touches_one_partition(split_rows: str, table: str, sql: str) -> None:
    """Not only its rows come from one: the others are not even looked into."""
    connection = await asyncpg.connect(split_rows, server_settings={"search_path": "bobbin", **PLANNING})
    await connection.execute("SET ROLE bobbin_app")
    await connection.execute(OWNER, "o7")
    await connection.execute(f"PREPARE hot AS {sql}")
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot({ARGUMENTS[sql]})")
    await connection.close()
    looked = [step for step in steps(json.loads(text)[0]["Plan"]) if "Index Name" in step]
    of_table = {step["Relation Name"] for step in looked if step["Relation Name"].startswith(f"{table}_p")}
    assert len(of_table) == 1
    assert len({step["Relation Name"].rpartition("_p")[2] for step in looked}) == 1
    assert next(step for step in looked if step["Relation Name"] in of_table)["Actual Rows"] >= 1


@pytest.fixture(scope="module")
async def split_rows(postgres: Any) -> AsyncIterator[str]:
    """A database in 8 parts with 50 owners."""
    async with postgres.empty() as dsn:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin"})
        await migrate(connection, all_migrations())
        await connection.execute(ROWS)
        await connection.close()
        await partition_database(dsn, 8)
        yield dsn


ROWS = """
INSERT INTO threads (owner_id, id, status, metadata)
SELECT 'o' || o, 't' || t, '{}', '{}' FROM generate_series(1, 50) AS o, generate_series(1, 5) AS t;
INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
SELECT owner_id, id, 'i' || i, i, 'end_of_turn', false, now(), '{}' FROM threads, generate_series(1, 5) AS i;
INSERT INTO turns (owner_id, id, thread_id, message_id, state, ended_at)
SELECT owner_id, 'u' || right(id, 1), id, 'i1', 'completed', now() FROM threads;
"""


async def test_a_role_without_rights_of_its_own_loses_no_row(empty_database_url: str) -> None:
    """Policies bind the tables' owner as well (FORCE): it must not move only what it sees."""
    admin = await asyncpg.connect(empty_database_url)
    database = await admin.fetchval("SELECT current_database()")
    role = f"plain_{database}"
    await admin.execute(f"CREATE ROLE {role} NOLOGIN")
    try:
        await admin.execute(f'GRANT CREATE, TEMPORARY ON DATABASE "{database}" TO {role}')
        await admin.execute(f"SET ROLE {role}")
        await migrate(admin, all_migrations())
        await admin.execute("RESET ROLE")
        await admin.execute(f"SET search_path TO bobbin; {ROWS}")
        with pytest.raises(CannotStart, match=f"belong to the role {role}"):
            await partition(admin, 4, NEWEST)
        await admin.execute(f"SET ROLE {role}")
        await partition(admin, 4, NEWEST)
        assert await admin.fetchval("SELECT count(*) FROM bobbin.threads") == 0
        await admin.execute(OWNER, "o7")
        assert await admin.fetchval("SELECT count(*) FROM bobbin.items") == 25
        part = await admin.fetchval("SELECT tableoid::regclass::text FROM bobbin.items LIMIT 1")
        assert await admin.fetchval(f"SELECT count(*) FROM {part}") == 0, "only through the whole table"
        await admin.execute("RESET ROLE")
        assert await admin.fetchval("SELECT count(*) FROM bobbin.items") == 1250
    finally:
        await admin.execute("RESET ROLE")
        await admin.execute(f"DROP OWNED BY {role}")
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()


async def test_what_cannot_be_done_changes_nothing(plain: Any, empty_database_url: str) -> None:
    schema = await described(plain)
    with pytest.raises(CannotStart, match=f"number {NEWEST}, this store's 4"):
        await partition(plain, 4, 4)
    await plain.execute("CREATE VIEW public.theirs AS SELECT id FROM bobbin.turns")
    with pytest.raises(CannotStart, match=r"nothing was changed: .*depend"):
        await partition_database(empty_database_url, 4)
    assert await described(plain) == schema
    assert await parts(plain, "turns") == []


async def test_what_is_split_and_not_analysed_is_said_to_be(
    plain: Any, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bobbin_store.partition, "ANALYZE", "SELECT 'ANALYZE bobbin.nothing' AS statement")
    with pytest.raises(CannotStart, match=r"^split, but not analysed .*bobbin\.nothing"):
        await partition_database(empty_database_url, 4)
    assert await parts(plain, "turns") == [f"turns_p{n}" for n in range(4)]


async def test_to_analyse_takes_the_time_it_takes(
    plain: Any, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await plain.fetchval("SELECT current_database()")
    await plain.execute(f"ALTER DATABASE {database} SET statement_timeout = '1s'")
    monkeypatch.setattr(bobbin_store.partition, "ANALYZE", "SELECT 'SELECT pg_sleep(1.2)' AS statement")
    await partition_database(empty_database_url, 4)


async def test_a_connection_that_is_lost_may_have_split_them(plain: Any, empty_database_url: str) -> None:
    async with plain.transaction():
        await plain.execute("LOCK TABLE bobbin.turns")
        splitting = asyncio.create_task(partition_database(empty_database_url, 4))
        waiting = "SELECT pid FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(10):
            while (pid := await plain.fetchval(waiting)) is None:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.01)
        await plain.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(CannotStart, match="as they were, or split already"):
            await splitting


@pytest.mark.parametrize(
    ("arguments", "url", "said"),
    [
        ([], "postgresql://x", "say how many partitions, from 1 to 256"),
        (["many"], "postgresql://x", "say how many partitions"),
        (["257"], "postgresql://x", "say how many partitions"),
        (["4"], "", "set DATABASE_URL"),
    ],
)
def test_the_command_says_what_is_missing(arguments: list[str], url: str, said: str) -> None:
    done = command(*arguments, url=url)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def command(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bobbin_store.partition", *arguments],
        env={"PATH": os.environ["PATH"], "STORE_TOKEN": "a-token-of-sixteen", "DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def test_the_command_splits_a_database(plain: Any, empty_database_url: str) -> None:
    done = command("2", url=empty_database_url)
    assert done.returncode == 0, done.stderr
    assert await parts(plain, "threads") == ["threads_p0", "threads_p1"]
