"""Whether the database answers and has the schema that this code needs, looked at once a second.

Who asks gets what was seen last: any number of probes costs nothing, and none hangs with the database. It is
seen over a connection of its own, so that a pool at its limit is not taken for a database that is away: then
all stores would leave the rotation under load, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import structlog

from bobbin_store import metrics
from bobbin_store.database import Connection, connect
from bobbin_store.errors import CannotStart, Unavailable
from bobbin_store.failures import FAILURES
from bobbin_store.migrate import all_migrations

log = structlog.stdlib.get_logger()

LOOK_EVERY_S: Final = 1.0
PATIENCE_S: Final = 2.0
"""How long a look may take. The sum of both is how late the end of a database is known."""

NOT_READY: Final = "The database does not answer, or has not the schema that this store needs"
"""All that is told to whoever asks: they need no token."""

# How many migrations have run.
VERSION = "SELECT count(*) FROM bobbin.migrations"


class Health:
    """What one worker knows of its database. Made by `watching`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._needed = len(all_migrations())
        self._connection: Connection | None = None
        self._looked = asyncio.Event()
        self.problem: str | None = "nobody has looked yet"
        """Why the store cannot serve; None if it can. For the log: the driver's words are no one else's."""

    async def check(self) -> None:
        """Return if the store can serve, as last seen.

        Raises:
            Unavailable: It cannot.
        """
        await self._looked.wait()
        if self.problem is not None:
            raise Unavailable(NOT_READY)

    async def run(self) -> NoReturn:
        """Look every second; for ever."""
        while True:
            self._note(await self._look())
            await asyncio.sleep(LOOK_EVERY_S)

    def _note(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            log.warning("not ready", reason=problem)
        elif problem is None and self.problem is not None and self._looked.is_set():
            log.info("ready again")
        self.problem = problem
        metrics.READY.set(problem is None)
        self._looked.set()

    async def _look(self) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._connection is None:
                    self._connection = await connect(self._dsn, PATIENCE_S)
                version: int = await self._connection.fetchval(VERSION)
        except (Unavailable, CannotStart, *FAILURES) as error:
            self.close()
            return f"The database does not answer: {str(error) or type(error).__name__}"
        metrics.SCHEMA_VERSION.set(version)
        if version < self._needed:
            return f"The database's schema is number {version}, this store needs {self._needed}"
        return None

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


@asynccontextmanager
async def watching(dsn: str) -> AsyncGenerator[Health]:
    """Look within the block."""
    health = Health(dsn)
    looking = asyncio.create_task(health.run(), name="health")
    try:
        yield health
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        health.close()
