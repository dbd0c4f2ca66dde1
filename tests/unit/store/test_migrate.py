"""Migrations: each runs once, in order, and never on a schema it does not know."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import pytest

from bobbin_store.errors import CannotStart
from bobbin_store.migrate import Migration, all_migrations, applied, migrate, migrate_when_ready
from tests.conftest import ROOT
from tests.processes import free_port

FIRST = Migration(1, "one", "CREATE TABLE one (id integer); INSERT INTO one VALUES (1)")
SECOND = Migration(2, "two", "ALTER TABLE one ADD COLUMN more text; UPDATE one SET more = 'kept'")


@pytest.fixture
async def connection(empty_database_url: str) -> Any:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in all_migrations()] == [1, 2, 3, 4, 5]


# What the store of a time writes: a thread with a message and its turn; and then another turn.
OLD_ROWS = """
INSERT INTO bobbin.threads (owner_id, id, status, metadata, last_seq) VALUES ('a', 't', '{}', '{}', 1);
INSERT INTO bobbin.items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
VALUES ('a', 't', 'm', 1, 'user_message', false, 'u', now(), '{"id": "m"}');
INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state) VALUES ('a', 'u', 't', 'm', 'running');
"""
OLD_WRITES = """
UPDATE bobbin.turns SET state = 'completed', ended_at = now() WHERE owner_id = 'a' AND id = 'u';
INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state) VALUES ('a', 'v', 't', 'm', 'running');
"""


@pytest.mark.parametrize("number", range(1, len(all_migrations())))
async def test_from_every_earlier_number_the_rest_runs_and_old_code_goes_on(
    connection: Any, number: int
) -> None:
    await migrate(connection, all_migrations()[:number])
    await connection.execute(OLD_ROWS)
    assert await migrate(connection, all_migrations()) == len(all_migrations()) - number
    rows = await connection.fetch("SELECT id, message_id, state FROM bobbin.turns")
    assert [tuple(row) for row in rows] == [("u", "m", "running")]
    await connection.execute(OLD_WRITES)
    rows = await connection.fetch(
        "SELECT id, message_id, subject_id, context_seq FROM bobbin.turns ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [("u", "m", None, None), ("v", "m", None, None)]
    assert await connection.fetchval("SELECT data->>'id' FROM bobbin.items") == "m"


async def test_turns_without_a_message_need_no_long_lock(connection: Any) -> None:
    """The table is neither rewritten nor read: however large, it is locked for a moment."""
    await migrate(connection, all_migrations()[:3])
    before = await connection.fetchval("SELECT pg_relation_filenode('bobbin.turns')")
    await migrate(connection, all_migrations())
    assert await connection.fetchval("SELECT pg_relation_filenode('bobbin.turns')") == before


async def test_an_empty_database_is_told_from_a_silent_one(connection: Any) -> None:
    assert await applied(connection) == 0
    with pytest.raises(CannotStart, match="does not answer"):
        await migrate_when_ready(f"postgresql://postgres@127.0.0.1:{free_port()}/x", wait_s=0.3)


async def test_each_migration_runs_once_and_keeps_the_data(connection: Any) -> None:
    assert await migrate(connection, [FIRST]) == 1
    await connection.execute("INSERT INTO bobbin.one VALUES (2)")
    assert await migrate(connection, [FIRST, SECOND]) == 1
    assert await migrate(connection, [FIRST, SECOND]) == 0
    rows = await connection.fetch("SELECT id, more FROM bobbin.one ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "kept"), (2, "kept")]
    assert await applied(connection) == 2


async def test_a_broken_migration_leaves_nothing_of_itself(connection: Any) -> None:
    broken = Migration(2, "broken", "CREATE TABLE half (id integer); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [FIRST, broken])
    assert await applied(connection) == 1
    assert await connection.fetchval("SELECT to_regclass('bobbin.half')") is None


async def test_a_schema_newer_than_the_code_is_refused(connection: Any) -> None:
    await migrate(connection, [FIRST, SECOND])
    with pytest.raises(CannotStart, match="number 2, this store knows 1"):
        await migrate(connection, [FIRST])


async def test_a_record_with_a_gap_is_refused(connection: Any) -> None:
    await migrate(connection, [FIRST, SECOND])
    await connection.execute("DELETE FROM bobbin.migrations WHERE number = 1")
    with pytest.raises(CannotStart, match="gap"):
        await migrate(connection, [FIRST, SECOND])


async def test_our_schema_leaves_the_rest_of_the_database_alone(
    connection: Any, empty_database_url: str
) -> None:
    await connection.execute("CREATE TABLE threads (theirs integer)")
    await migrate_when_ready(empty_database_url, wait_s=1)
    await connection.execute("INSERT INTO public.threads VALUES (1)")
    assert await connection.fetchval("SELECT count(*) FROM bobbin.threads") == 0


async def test_stores_that_start_at_once_on_an_empty_database_migrate_it_once(
    empty_database_url: str,
) -> None:
    """Real processes, so that nothing but the database can keep them apart."""
    program = (
        "import asyncio, sys; from bobbin_store.migrate import migrate_when_ready;"
        "asyncio.run(migrate_when_ready(sys.argv[1], 5))"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, empty_database_url, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    connection = await asyncpg.connect(empty_database_url)
    assert await applied(connection) == len(all_migrations())
    await connection.close()


async def test_a_role_without_rights_of_its_own_can_own_the_database(empty_database_url: str) -> None:
    """No superuser needed: the tables' owner is bound by row-level security as well (FORCE)."""
    admin = await asyncpg.connect(empty_database_url)
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"CREATE ROLE plain_{database} NOLOGIN")
    try:
        await admin.execute(f'ALTER DATABASE "{database}" OWNER TO plain_{database}')
        await admin.execute(f"SET ROLE plain_{database}")
        await migrate(admin, all_migrations())
        owner = await admin.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'threads'")
        assert owner == f"plain_{database}"
        insert = "INSERT INTO bobbin.threads (owner_id, id, status, metadata) VALUES ('a', 't', '{}', '{}')"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute(insert)
        await admin.execute("SELECT set_config('bobbin.owner_id', 'a', false)")
        await admin.execute(insert)
        await admin.execute("SELECT set_config('bobbin.owner_id', 'b', false)")
        assert await admin.fetchval("SELECT count(*) FROM bobbin.threads") == 0
    finally:
        await admin.execute("RESET ROLE")
        await admin.execute(f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
        await admin.execute(f"DROP OWNED BY plain_{database}")
        await admin.execute(f"DROP ROLE plain_{database}")
        await admin.close()


@pytest.mark.parametrize(
    "dsn", ["postgresql://nobody:wrong@{host}/x", "postgresql://localhost:notaport/x", "mysql://x"]
)
async def test_a_refused_or_senseless_address_is_one_clear_error(server_dsn: str, dsn: str) -> None:
    query = server_dsn.partition("?")[2]
    address = dsn.format(host="") + (f"?{query}" if "{host}" in dsn else "")
    with pytest.raises(CannotStart, match=r"refuses|does not answer") as raised:
        await migrate_when_ready(address, wait_s=0.2)
    assert "\n" not in str(raised.value)
