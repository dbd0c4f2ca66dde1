"""``python -m bobbin_store.partition 16``: splits the tables by owner into hash partitions, for large ones.

Nothing but the layout changes: each table keeps its columns, keys, indexes, foreign keys, triggers, policies
and grants, and the store its statements. All of it is one transaction, under the lock that migrations take.
What there is, is read from PostgreSQL's catalogue. So no table is known by name here, and the command may be
run again: with another number of partitions, or after a migration that brought a table.

Journal and changes are split by time already, and emptied as a whole every half hour: they stay as they are.
Gateways have no owner.
"""

from __future__ import annotations

import asyncio
import os
import sys

import structlog

from bobbin_protocol.settings import BrokenSettings, read_settings, refusal
from bobbin_store.database import Connection, connect
from bobbin_store.errors import CannotStart, Unavailable
from bobbin_store.failures import CONNECTION_LOST, DatabaseError
from bobbin_store.migrate import LOCK, LOCK_KEY, NAME_LIKE_PARENTS, all_migrations, applied, run_each
from bobbin_store.settings import NAME, Settings
from bobbin_telemetry.logs import configure_logs

log = structlog.stdlib.get_logger()

MOST = 256
CONNECT_TIMEOUT_S = 10.0

# Take the time it takes. Names in the catalogue's definitions are told with their schema. A row that a policy
# would hide is an error, not a loss.
SETTINGS = """
SELECT set_config('statement_timeout', '0', true), set_config('search_path', 'pg_catalog', true),
    set_config('row_security', 'off', true)
"""

# What is to be split: all with an owner, but for what is split by time, and partitions.
TABLES = """
CREATE TEMPORARY TABLE split ON COMMIT DROP AS
SELECT class.oid AS id, class.relname::text AS name, class.relrowsecurity AS secured,
    class.relforcerowsecurity AS forced, pg_get_userbyid(class.relowner)::text AS owner,
    (
        SELECT array_agg(inhrelid::regclass ORDER BY inhrelid) FROM pg_inherits WHERE inhparent = class.oid
    ) AS partitions,
    array_to_string(coalesce(class.reloptions, (
        SELECT reloptions FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = class.oid LIMIT 1
    )), ', ') AS options
FROM pg_class AS class LEFT JOIN pg_partitioned_table AS partitioned ON partrelid = class.oid
WHERE class.relnamespace = 'bobbin'::regnamespace AND NOT class.relispartition
AND (class.relkind = 'r' OR partitioned.partstrat = 'h')
AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = class.oid AND attname = 'owner_id')
"""

OWNER = "SELECT owner FROM split WHERE owner <> current_user LIMIT 1"

# How each is to be made complete once its rows are there: indexes in the order they were made, with the keys
# that are built on them; then what refers to keys.
DEFINITIONS = """
CREATE TEMPORARY TABLE definition ON COMMIT DROP AS
SELECT 1 AS step, indexrelid AS nth, CASE
    WHEN conname IS NULL THEN replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
    ELSE format(
        'ALTER TABLE bobbin.%I ADD CONSTRAINT %I %s', name, conname, pg_get_constraintdef(pg_constraint.oid)
    )
END AS statement
FROM split JOIN pg_index ON indrelid = id
LEFT JOIN pg_constraint ON conindid = indexrelid AND conrelid = id AND contype IN ('p', 'u')
UNION ALL
SELECT 2, oid, format('ALTER TABLE bobbin.%I ADD CONSTRAINT %I %s', name, conname, pg_get_constraintdef(oid))
FROM split JOIN pg_constraint ON conrelid = id WHERE contype = 'f' AND conparentid = 0
UNION ALL
SELECT 3, oid, pg_get_triggerdef(oid) FROM split JOIN pg_trigger ON tgrelid = id WHERE NOT tgisinternal
UNION ALL
SELECT 4, pg_policy.oid, concat_ws(' ',
    format('CREATE POLICY %I ON bobbin.%I AS %s FOR %s TO %s', polname, name, permissive, cmd, (
        SELECT string_agg(CASE role WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(role) END, ', ')
        FROM unnest(roles) AS role
    )),
    'USING (' || qual || ')', 'WITH CHECK (' || with_check || ')'
)
FROM split JOIN pg_policy ON polrelid = id
JOIN pg_policies ON schemaname = 'bobbin' AND tablename = name AND policyname = polname
UNION ALL
SELECT 5, id, format('ALTER TABLE bobbin.%I ENABLE ROW LEVEL SECURITY', name) FROM split WHERE secured
UNION ALL
SELECT 5, id, format('ALTER TABLE bobbin.%I FORCE ROW LEVEL SECURITY', name) FROM split WHERE forced
UNION ALL
SELECT 6, id, format(
    'GRANT %s ON bobbin.%I TO %s%s', privilege_type, name,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM split JOIN pg_class ON pg_class.oid = id, aclexplode(relacl) WHERE grantee <> relowner
"""

# Out of the way, with all that belongs to them; their owner sees all rows of them.
SET_ASIDE = """
SELECT statement FROM split, LATERAL (
    SELECT 1 AS step, format('ALTER TABLE bobbin.%I NO FORCE ROW LEVEL SECURITY', name) AS statement
    UNION ALL
    SELECT 1, format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', part) FROM unnest(partitions) AS part
    UNION ALL
    SELECT 2, format('ALTER TABLE %s SET SCHEMA bobbin_before', part) FROM unnest(partitions) AS part
    UNION ALL
    SELECT 2, format('ALTER TABLE bobbin.%I SET SCHEMA bobbin_before', name)
) AS one ORDER BY step
"""

# The same tables, split.
CREATE = """
SELECT statement FROM split, LATERAL (
    SELECT 0 AS step, format(
        'CREATE TABLE bobbin.%1$I (LIKE bobbin_before.%1$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS) PARTITION BY HASH (owner_id)', name
    ) AS statement
    UNION ALL
    SELECT 1, format(
        'CREATE TABLE bobbin.%I PARTITION OF bobbin.%I FOR VALUES WITH (MODULUS %s, REMAINDER %s)%s',
        name || '_p' || n, name, $1::int, n, ' WITH (' || nullif(options, '') || ')'
    ) FROM generate_series(0, $1 - 1) AS n
) AS one ORDER BY step
"""

MOVE = """
SELECT format('INSERT INTO bobbin.%1$I SELECT * FROM bobbin_before.%1$I', name) AS statement FROM split
"""

COMPLETE = "SELECT statement FROM definition ORDER BY step, nth"

# Policies stand with the whole table. Nobody is to go past them, to a part of it.
SECURE = """
SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', inhrelid::regclass)
    AS statement
FROM split JOIN pg_inherits ON inhparent = format('bobbin.%I', name)::regclass WHERE secured
"""

# In one statement: they refer to each other. What others have made on them (a view) is not ours to drop.
DROP = """
SELECT 'DROP TABLE ' || string_agg(format('bobbin_before.%I', name), ', ') AS statement FROM split
UNION ALL
SELECT 'DROP SCHEMA bobbin_before'
"""

# PostgreSQL never does this by itself for a table as a whole. One that is empty stays unknown: it would be
# taken for one that has no row for ever, and read in whole.
ANALYZE = """
SELECT format('ANALYZE bobbin.%I', relname) AS statement
FROM pg_class JOIN pg_inherits ON inhparent = pg_class.oid
WHERE relnamespace = 'bobbin'::regnamespace AND relkind = 'p'
GROUP BY relname HAVING sum(pg_relation_size(inhrelid)) > 0
"""


async def partition(connection: Connection, count: int, known: int) -> None:
    """Split what has an owner into `count` partitions, in a schema of `known` migrations.

    Raises:
        CannotStart: The schema has another number of them, or the tables are another role's.
    """
    async with connection.transaction():
        await connection.execute(SETTINGS)
        await connection.execute(LOCK, LOCK_KEY)
        done = await applied(connection)
        if not done or done != known:
            raise CannotStart(f"the database's schema is number {done}, this store's {known}: start it once")
        await connection.execute(TABLES)
        if (owner := await connection.fetchval(OWNER)) is not None:
            raise CannotStart(f"the tables belong to the role {owner}: log in as that")
        await connection.execute(DEFINITIONS)
        await connection.execute("CREATE SCHEMA bobbin_before")
        for statements in (SET_ASIDE, CREATE, MOVE, COMPLETE, NAME_LIKE_PARENTS, SECURE, DROP):
            arguments = [count] if statements is CREATE else []
            await run_each(connection, statements, *arguments)


async def analyze(connection: Connection) -> None:
    """Have PostgreSQL learn what is in the tables; take the time it takes."""
    await connection.execute("SET statement_timeout = 0")
    await run_each(connection, ANALYZE)


async def partition_database(dsn: str, count: int) -> None:
    """Log in and split.

    Raises:
        CannotStart: It cannot be done; the text says why, and whether anything has changed.
    """
    try:
        connection = await connect(dsn, timeout_s=CONNECT_TIMEOUT_S)
    except Unavailable as error:
        raise CannotStart(f"the database does not answer: {error}") from error
    try:
        await _partition_and_analyze(connection, count)
    finally:
        await connection.close()


async def _partition_and_analyze(connection: Connection, count: int) -> None:
    try:
        await partition(connection, count, len(all_migrations()))
    except CONNECTION_LOST as error:
        raise CannotStart(
            f"the connection was lost; the tables are as they were, or split already: {error}"
        ) from error
    except DatabaseError as error:
        raise CannotStart(f"nothing was changed: {error}") from error
    try:
        await analyze(connection)
    except (DatabaseError, *CONNECTION_LOST) as error:
        raise CannotStart(f"split, but not analysed (run ANALYZE in the database): {error}") from error


def main() -> None:
    """Split the tables of the database that DATABASE_URL names."""
    configure_logs(NAME)
    try:
        count = _count(sys.argv[1:])
        asyncio.run(partition_database(_database(read_settings(Settings, os.environ)), count))
    except (BrokenSettings, CannotStart) as error:
        sys.exit(refusal(NAME, error))
    log.info("partitioned", partitions=count)


def _count(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal() or not 1 <= int(arguments[0]) <= MOST:
        raise CannotStart(f"say how many partitions, from 1 to {MOST}: python -m bobbin_store.partition 16")
    return int(arguments[0])


def _database(settings: Settings) -> str:
    if not settings.database_url:
        raise CannotStart("set DATABASE_URL: an embedded database has no use for partitions")
    return settings.dsn


if __name__ == "__main__":
    main()
