"""Migrations: each runs once, in order, and never on a schema it does not know."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import asyncpg
import pytest

from bobbin_store.errors import CannotStart
from bobbin_store.migrate import Migration, all_migrations, applied, migrate, migrate_when_ready
from tests.conftest import ROOT
from tests.processes import free_port
from tests.unit.store.conftest import Store, assistant_message, begin, running_app

FIRST = Migration(1, "one", "CREATE TABLE one (id integer); INSERT INTO one VALUES (1)")
SECOND = Migration(2, "two", "ALTER TABLE one ADD COLUMN more text; UPDATE one SET more = 'kept'")


@pytest.fixture
async def connection(empty_database_url: str) -> Any:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in all_migrations()] == [1, 2, 3, 4, 5, 6]


# What the store of a time had, by the number of its schema: something in every table, of two owners.
ROWS = {
    1: """
    INSERT INTO bobbin.threads (owner_id, id, title, status, allowed_image_domains, metadata, last_seq) VALUES
    ('a', 't', 'Grüße', '{"type":"active"}', '["x.org"]', '{"k": "\\u0000"}', 2),
    ('a', 'empty', NULL, '{"type":"locked","reason":"r"}', NULL, '{}', 0),
    ('b', 't', NULL, '{"type":"active"}', NULL, '{}', 2);
    INSERT INTO bobbin.items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT owner_id, 't', 'm', 1, 'user_message', false, 'u', now(), $$ {
        "type": "user_message", "id": "m", "thread_id": "t", "created_at": "2026-01-01T00:00:00Z",
        "content": [{"type": "input_text", "text": "Hi"}], "inference_options": {}, "later": "kept"
    } $$ FROM bobbin.threads WHERE id = 't';
    INSERT INTO bobbin.items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)
    SELECT owner_id, 't', 'h', 2, 'sdk_hidden_context', true, NULL, now(), $$ {
        "type": "sdk_hidden_context", "id": "h", "thread_id": "t", "created_at": "2026-01-01T00:00:00Z",
        "content": "x"
    } $$ FROM bobbin.threads WHERE id = 't';
    INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state, ended_at, usage, error) VALUES
    ('a', 'done', 't', 'm', 'completed', now(), '{"input_tokens": 1, "output_tokens": 2}', NULL),
    ('b', 'failed', 't', 'm', 'failed', now(), NULL, 'The model was away');
    INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state)
    VALUES ('a', 'u', 't', 'm', 'running');
    INSERT INTO bobbin.attachments (owner_id, id, thread_id, data)
    SELECT 'a', id, thread_id, json_build_object('type', 'file', 'id', id, 'name', 'n', 'mime_type', 'x/y')
    FROM (VALUES ('sent', 't'), ('unsent', NULL)) AS attachment (id, thread_id);
    INSERT INTO bobbin.feedback (owner_id, thread_id, item_id, kind) VALUES ('a', 't', 'm', 'positive');
    """,
    2: """
    INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state)
    VALUES ('b', 'superseded', 't', 'm', 'interrupted');
    """,
    3: """
    INSERT INTO bobbin.gateways (id, lease_until, dead) VALUES ('gw_a', now(), false), ('gw_d', now(), true);
    UPDATE bobbin.turns SET gateway_id = 'gw_a', idempotency_key = 'k', fingerprint = 'f', checkpoint = 'c'
    WHERE id = 'u';
    INSERT INTO bobbin.journal (owner_id, turn_id, first, last, data) VALUES ('a', 'u', 1, 2, 'data: 1');
    INSERT INTO bobbin.changes (owner_id, thread_id, turn_id) VALUES ('a', 't', 'u');
    """,
    4: """
    INSERT INTO bobbin.turns (owner_id, id, thread_id, subject_id, context_seq, state, ended_at)
    VALUES ('b', 'action', 't', 'm', 2, 'cancelled', now());
    """,
    5: """
    INSERT INTO bobbin.removed_blobs (owner_id, attachment_id, due_at)
    VALUES ('a', 'swept', now() + interval '1 hour');
    """,
}
"""Whoever adds a migration adds what the store of before had."""

OLD_WRITES = """
UPDATE bobbin.turns SET state = 'completed', ended_at = now() WHERE owner_id = 'a' AND id = 'u';
INSERT INTO bobbin.turns (owner_id, id, thread_id, message_id, state) VALUES ('a', 'v', 't', 'm', 'running');
INSERT INTO bobbin.attachments (owner_id, id, data) VALUES ('a', 'new', '{}');
DELETE FROM bobbin.attachments WHERE owner_id = 'a' AND id = 'new';
"""
"""What the store of before may still do beside that of now."""

COLUMNS = """
SELECT relname, array_agg(attname::text ORDER BY attnum) AS columns
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'bobbin'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
AND attnum > 0 AND NOT attisdropped AND relname <> 'migrations' GROUP BY relname
"""


async def columns_of(connection: Any) -> dict[str, list[str]]:
    return {row["relname"]: row["columns"] for row in await connection.fetch(COLUMNS)}


async def rows_of(connection: Any, tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """Every row of these tables, as text, by these columns."""
    return {
        table: [
            row[0]
            for row in await connection.fetch(
                f"SELECT ROW({', '.join(columns)})::text FROM bobbin.{table} ORDER BY 1"
            )
        ]
        for table, columns in tables.items()
    }


EARLIER = range(1, len(all_migrations()))


async def filled_at(connection: Any, number: int) -> None:
    """A database of an earlier number, with what its stores had by then."""
    await migrate(connection, all_migrations()[:number])
    for since in range(1, number + 1):
        await connection.execute(ROWS[since])


def test_every_number_has_its_rows() -> None:
    """Whoever adds a migration says here what the store of before had."""
    assert list(ROWS) == list(EARLIER)


@pytest.mark.parametrize("number", EARLIER)
async def test_from_every_earlier_number_nothing_is_lost_and_old_code_goes_on(
    connection: Any, number: int
) -> None:
    await filled_at(connection, number)
    tables = await columns_of(connection)
    before = await rows_of(connection, tables)
    assert all(before.values()), "there is something in every table"
    assert await migrate(connection, all_migrations()) == len(all_migrations()) - number
    assert await rows_of(connection, tables) == before
    await connection.execute(OLD_WRITES)
    turns = await connection.fetch("SELECT id, message_id, state FROM bobbin.turns WHERE id IN ('u', 'v')")
    assert sorted(map(tuple, turns)) == [("u", "m", "completed"), ("v", "m", "running")]


@pytest.mark.parametrize("number", EARLIER)
async def test_the_store_works_with_what_an_earlier_number_left(
    connection: Any, empty_database_url: str, number: int
) -> None:
    await filled_at(connection, number)
    await migrate_when_ready(empty_database_url, wait_s=5)
    async with running_app(empty_database_url) as http:
        alice, bob = Store(http, "a", "json"), Store(http, "b", "json")
        exported = await http.get("/v1/owner/export", headers=alice.headers)
        lines = [json.loads(line) for line in exported.text.splitlines()]
        assert sorted(line["kind"] for line in lines) == sorted(
            ["thread"] * 2 + ["item"] * 2 + ["turn"] * 2 + ["feedback"] + ["attachment"] * 2
        )
        page = await alice.get("/threads/t/items", order="asc", hidden=True)
        assert [item["id"] for item in page["data"]] == ["m", "h"]
        assert page["data"][0]["later"] == "kept"
        assert page["running_turn_id"] == "u"
        # What ran goes on to its end, or is superseded by the next message; what had no lease never had one.
        await alice.post("/turns", begin("next", "t", "add_user_message"))
        assert (await alice.get("/turns/u"))["state"] == "interrupted"
        await alice.post("/turns/next/finish", {"state": "completed", "items": [assistant_message("n", "t")]})
        assert await alice.item_ids("t") == ["m", "h", "m-next", "n"]
        await alice.delete("/threads/t")
        removed = await alice.post("/blobs/sweep", {"limit": 10})
        assert [blob["attachment_id"] for blob in removed["blobs"]] == ["sent"]
        assert await bob.item_ids("t") == ["m", "h"]


async def test_a_turn_under_lease_of_an_earlier_number_is_taken_over_with_its_journal(
    connection: Any, empty_database_url: str
) -> None:
    """By one that a store of before has registered, beside that of now: it claims at once, as it did."""
    await filled_at(connection, 3)
    await migrate_when_ready(empty_database_url, wait_s=5)
    await connection.execute(
        "INSERT INTO bobbin.gateways (id, lease_until) VALUES ('gw_o', now() + interval '1 minute')"
    )
    async with running_app(empty_database_url) as http:
        store = Store(http, "a", "json")
        await store.put("/gateways/gw_o", {"lease_s": 30})
        claimed = await store.post("/gateways/gw_o/claims", {"limit": 5})
    (turn,) = claimed["turns"]
    assert (turn["turn_id"], turn["message"]["id"], len(turn["journal"])) == ("u", "m", 1)


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
