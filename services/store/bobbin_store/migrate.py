"""Brings the database's schema up to what this code expects.

Rules: files are ``migrations/NNNN_name.sql``, numbered from 1 without a gap, never edited once released. Each
runs once, in a transaction of its own, one process at a time (an advisory lock). A schema newer than the code
is refused: it may hold what this code would break. A migration must let the code of before go on working:
both run side by side during an upgrade.
"""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files
from typing import NamedTuple

import structlog

from bobbin_store.database import Connection, Session, connect
from bobbin_store.errors import CannotStart, Unavailable
from bobbin_store.failures import DatabaseError

log = structlog.stdlib.get_logger()

LOCK_KEY = 0x626F6262696E  # "bobbin": any number that others on the same server will hardly choose
LOCK_TIMEOUT_MS = 120_000
STATEMENT_TIMEOUT_MS = 600_000
RETRY_INTERVAL_S = 0.25
CONNECT_TIMEOUT_S = 5.0


class Migration(NamedTuple):
    number: int
    name: str
    sql: str


def all_migrations() -> list[Migration]:
    """Read the package's migrations in order.

    Raises:
        CannotStart: A number is missing or there twice.
    """
    found = [
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in files("bobbin_store").joinpath("migrations").iterdir()
        if (match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name))
    ]
    found.sort()
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise CannotStart(f"the migrations are not numbered 1, 2, 3 ...: {numbers}")
    return found


# Is there a schema of ours at all? Null if not; an error only when the database gives no answer.
TABLE = "SELECT to_regclass('bobbin.migrations')"

# The numbers of the migrations that have run.
APPLIED = "SELECT number FROM bobbin.migrations ORDER BY number"


async def applied(connection: Session) -> int:
    """Say how many migrations have run; 0 on an empty database.

    Raises:
        CannotStart: The record has a gap.
    """
    if await connection.fetchval(TABLE) is None:
        return 0
    numbers = [row["number"] for row in await connection.fetch(APPLIED)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise CannotStart(f"the database's record of migrations has a gap: {numbers}")
    return len(numbers)


# Wait for other processes that migrate; the lock goes with the transaction.
LOCK = "SELECT pg_advisory_xact_lock($1)"

# How long this transaction waits for locks and statements, in milliseconds.
LIMITS = "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)"

# The place of everything of ours.
PREPARE = """
CREATE SCHEMA IF NOT EXISTS bobbin;
CREATE TABLE IF NOT EXISTS bobbin.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
SET LOCAL search_path TO bobbin;
"""

# Note that a migration has run.
RECORD = "INSERT INTO migrations (number, name) VALUES ($1, $2)"

# Where tables are split by owner (see `partition`), each part's index is called after the whole's: by that
# name a violated constraint is told. PostgreSQL gives those that a migration brings names of its own.
NAME_LIKE_PARENTS = """
SELECT format('ALTER INDEX bobbin.%I RENAME TO %I', index.relname, wanted) AS statement
FROM pg_class AS index
JOIN pg_index ON indexrelid = index.oid
JOIN pg_class AS part ON part.oid = indrelid
JOIN pg_inherits ON inhrelid = index.oid
JOIN pg_class AS whole ON whole.oid = inhparent
JOIN pg_index AS whole_index ON whole_index.indexrelid = whole.oid
JOIN pg_partitioned_table ON partrelid = whole_index.indrelid AND partstrat = 'h',
LATERAL (SELECT whole.relname || substring(part.relname FROM '_p[0-9]+$') AS wanted) AS name
WHERE index.relnamespace = 'bobbin'::regnamespace AND index.relname <> wanted
"""


async def run_each(connection: Connection, statements: str, *args: object) -> None:
    """Run each `statement` that a query gives, in its order."""
    for row in await connection.fetch(statements, *args):
        await connection.execute(row["statement"])


async def migrate(connection: Connection, migrations: list[Migration]) -> int:
    """Run what has not run yet and say how many that were. Several processes may call this at once.

    Raises:
        CannotStart: The schema is newer than `migrations`, or its record has a gap.
    """
    count = 0
    while True:
        async with connection.transaction():
            await connection.execute(LIMITS, str(LOCK_TIMEOUT_MS), str(STATEMENT_TIMEOUT_MS))
            await connection.execute(LOCK, LOCK_KEY)
            done = await applied(connection)
            if done > len(migrations):
                raise CannotStart(
                    f"the database's schema is number {done}, this store knows {len(migrations)} only"
                )
            if done == len(migrations):
                return count
            following = migrations[done]
            await connection.execute(PREPARE)
            await connection.execute(following.sql)
            await run_each(connection, NAME_LIKE_PARENTS)
            await connection.execute(RECORD, following.number, following.name)
        log.info("migrated", number=following.number, name=following.name)
        count += 1


async def migrate_when_ready(dsn: str, wait_s: float) -> None:
    """Wait until the database answers, at most `wait_s` seconds, then migrate it.

    Raises:
        CannotStart: No answer in time, a refused login, or a schema that this code must not touch.
    """
    connection = await _connect_when_ready(dsn, wait_s)
    try:
        await migrate(connection, all_migrations())
    except DatabaseError as error:
        raise CannotStart(f"the migration failed: {error}") from error
    finally:
        await connection.close()


async def _connect_when_ready(dsn: str, wait_s: float) -> Connection:
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return await connect(dsn, timeout_s=max(wait_s, CONNECT_TIMEOUT_S))
        except Unavailable as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise CannotStart(f"the database does not answer: {error}") from error
            await asyncio.sleep(RETRY_INTERVAL_S)
