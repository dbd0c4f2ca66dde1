"""A real PostgreSQL for tests: one server per run, one migrated template, one clone of it per test.

The server is the embedded one with durability off, or the one that DATABASE_URL names. With BOBBIN_PARTITIONS
the tables of migrated databases are split by owner, into as many.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.migrate import migrate_when_ready
from bobbin_store.partition import partition_database

PARTITIONS = int(os.environ.get("BOBBIN_PARTITIONS", "0"))

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A server that makes databases."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._template: str | None = None

    def dsn_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """A new database without anything in it, by its DSN; gone afterwards."""
        async with self._database("template0") as name:
            yield self.dsn_of(name)

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """A new database with our schema."""
        if self._template is None:
            self._template = f"bobbin_template_{uuid4().hex}"
            await self._run(f"CREATE DATABASE {self._template} TEMPLATE template0")
            await migrate_when_ready(self.dsn_of(self._template), wait_s=5)
            if PARTITIONS:
                await partition_database(self.dsn_of(self._template), PARTITIONS)
        async with self._database(self._template) as name:
            yield self.dsn_of(name)

    @asynccontextmanager
    async def _database(self, template: str) -> AsyncIterator[str]:
        name = f"bobbin_test_{uuid4().hex}"
        await self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            await self._run(f"DROP DATABASE {name} WITH (FORCE)")

    async def close(self) -> None:
        if self._template is not None:
            await self._run(f"DROP DATABASE {self._template} WITH (FORCE)")

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """Where the server of this run is."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    with readable_folder() as folder:
        embedded = EmbeddedServer(folder, NOT_DURABLE)
        embedded.start()
        yield embedded.dsn
        embedded.stop()


@contextmanager
def readable_folder() -> Iterator[Path]:
    """A new folder that anyone may pass through: if we are root, the server is another user."""
    folder = Path(tempfile.mkdtemp(prefix="bobbin-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def postgres(server_dsn: str) -> AsyncIterator[Postgres]:
    """The server of this run."""
    server = Postgres(server_dsn)
    yield server
    await server.close()


@pytest.fixture
async def database_url(postgres: Postgres) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    async with postgres.migrated() as dsn:
        yield dsn


@pytest.fixture
async def empty_database_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    async with postgres.empty() as dsn:
        yield dsn
