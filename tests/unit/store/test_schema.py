"""The schema: every statement of the store fits it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from types import ModuleType

import pytest

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
from bobbin_store.turns import begin, cancel, early, finish, follow_up, join, record, result, retry
from tests.postgres import Postgres
from tests.unit.store.row_security import plain_connection

TURNS = [begin, retry, follow_up, join, early, finish, cancel, record, result]
RUNNING = [gateways, claims, journal, changes, watch, expiry]
MODULES = [threads, items, *TURNS, *RUNNING, attachments, blobs, feedback, owners, database, migrate]


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


@pytest.fixture(scope="module")
async def migrated(postgres: Postgres) -> AsyncIterator[str]:
    async with postgres.migrated() as dsn:
        yield dsn


def test_there_are_statements_to_test() -> None:
    assert len(ALL_STATEMENTS) >= 40
    assert {"turns.begin.OPEN_AND_APPEND", "threads.PAGE_ASC", "owners.ERASE_ITEMS"} <= set(ALL_STATEMENTS)


@pytest.mark.parametrize("sql", ALL_STATEMENTS.values(), ids=ALL_STATEMENTS.keys())
async def test_every_statement_fits_the_schema(migrated: str, sql: str) -> None:
    async with plain_connection(migrated) as connection:
        await connection.prepare(sql)
