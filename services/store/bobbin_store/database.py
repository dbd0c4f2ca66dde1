"""PostgreSQL: the pool, and sessions in one owner's name.

With `failures` the only module that knows asyncpg.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# asyncpg is only partly annotated; what the store uses of it stands in the protocols below.

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, TypeAlias, cast

import asyncpg

from bobbin_store import metrics
from bobbin_store.errors import CannotStart, Unavailable
from bobbin_store.failures import FAILURES, in_our_words
from bobbin_store.settings import Settings
from bobbin_store.statements import add_span
from bobbin_telemetry import tracing

Row: TypeAlias = Mapping[str, Any]


class Session(Protocol):
    """What statements run in: a connection."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def fetch(self, query: str, *args: object) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: object) -> Row | None: ...
    async def fetchval(
        self,
        query: str,
        *args: object,
        timeout: float | None = None,  # noqa: ASYNC109 (asyncpg's signature)
    ) -> Any: ...
    def cursor(self, query: str, *args: object, prefetch: int) -> AsyncIterable[Row]: ...
    def transaction(self, *, isolation: str | None = None) -> AbstractAsyncContextManager[None]: ...


class Connection(Session, Protocol):
    """A connection of its own, outside of the pool."""

    async def close(self) -> None: ...
    def terminate(self) -> None: ...


COMMAND_MARGIN_S = 5.0
"""How much longer than the statement timeout we wait for the server before we give the connection up."""

IDLE_CONNECTION_S = 300.0
"""Older ones are not used again: a firewall may have forgotten them."""

PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "seq_page_cost": "0.01",
    "random_page_cost": "0.01",
}
"""Every statement runs along one index, in its order, whatever the values. So each connection plans it once:
planning costs more than running. A plan made while a table is small must do for a large one until PostgreSQL
notices: so it may neither scan all nor sort, and the cost of pages must not drown the difference between an
index that fits and one that shares only its first column.

Without `jit`: up to PostgreSQL 17 a sort that cannot be avoided has by this a cost beyond all measure, for
which JIT would compile for a second, each time, what runs for a millisecond.
"""

# Every row that this connection touches must be this owner's (row-level security), until another is named.
OWNER = "SELECT set_config('bobbin.owner_id', $1, false)"

EVERY_OWNER = " every owner"
"""In whose name turns, journal and changes of many owners are touched at once. No owner can be called so."""

# Does row-level security bind the role that we logged in as?
ABOVE_ROW_SECURITY = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user"

# Step down to a role that it binds, until the connection ends.
STEP_DOWN = "SET ROLE bobbin_app"


class OwnedConnection(asyncpg.Connection):
    """A pooled connection that knows in whose name it speaks, and is told again only when that changes."""

    _owner: str | None = None

    async def speak_for(self, owner: str) -> None:
        """See and touch this owner's rows only, from the next statement on. Not within a transaction."""
        if self._owner != owner:
            self._owner = None  # unknown, should what follows be cut off
            await self.execute(OWNER, owner)
            self._owner = owner


class Database:
    """A pool of connections. Made by `open_database`."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self._pool = pool
        self._wait_s = settings.store_pool_wait_s
        self._at_hand: list[tuple[Any, float]] = []
        """Connections out of the pool that nobody uses, and until when they may be used again."""
        self._waiting = 0
        self._closing = False

    def session(self, owner: str) -> AbstractAsyncContextManager[Session]:
        """A connection that sees the rows of one owner; each statement is a transaction of its own.

        Raises:
            StoreError: What the database says, in our words.
        """
        return _OwnedSession(self, owner)

    async def take(self) -> Any:
        """Take the connection used last, or one of the pool's.

        Connections stay out of the pool while nobody waits for one, ready for the next session: the way into
        the pool and out of it costs more CPU than what a session does.
        """
        while self._at_hand:
            connection, until = self._at_hand.pop()
            if time.monotonic() <= until and not _is_closed(connection):
                return connection
            await self._let_go(connection)
        self._waiting += 1
        began = time.monotonic()
        try:
            connection = await self._pool.acquire(timeout=self._wait_s)
        except TimeoutError:
            metrics.POOL_TIMEOUTS.inc()
            raise
        finally:
            self._waiting -= 1
        metrics.POOL_WAIT_SECONDS.observe(time.monotonic() - began)
        return connection

    async def give_back(self, connection: Any) -> None:
        """Keep a connection on which all went well at hand, unless somebody waits for one."""
        if self._closing or self._waiting:
            await self._pool.release(connection)
            return
        now = time.monotonic()
        self._at_hand.append((connection, now + IDLE_CONNECTION_S))
        oldest, until = self._at_hand[0]
        if now > until or _is_closed(oldest):
            del self._at_hand[0]
            await self._let_go(oldest)

    async def release(self, connection: Any) -> None:
        """Give a connection back to the pool, which sees to what has been left undone."""
        await self._pool.release(connection)

    async def _let_go(self, connection: Any) -> None:
        """Have the pool make another in the place of a connection that is no good any more."""
        if _is_closed(connection):
            await self._pool.release(connection)
        else:
            connection.terminate()

    async def close(self) -> None:
        """Give the pool all its connections back, as soon as each is free."""
        self._closing = True
        while self._at_hand:
            await self._pool.release(self._at_hand.pop()[0])

    @asynccontextmanager
    async def transaction(self, owner: str, *, snapshot: bool = False) -> AsyncGenerator[Session]:
        """The same for several statements that belong together; with `snapshot` all see the same state."""
        isolation = "repeatable_read" if snapshot else "read_committed"
        async with self.session(owner) as session, session.transaction(isolation=isolation):
            yield session

    def sample(self) -> None:
        """Write down for the metrics how the pool stands."""
        at_hand = sum(not _is_closed(connection) for connection, _ in self._at_hand)
        idle = self._pool.get_idle_size() + at_hand
        metrics.POOL_LIMIT.set(self._pool.get_max_size())
        metrics.POOL_CONNECTIONS.set(self._pool.get_size())
        metrics.POOL_IN_USE.set(self._pool.get_size() - idle)
        metrics.POOL_WAITING.set(self._waiting)


class _OwnedSession(AbstractAsyncContextManager[Session]):
    """What `Database.session` gives. As a generator it would cost as much as the statement in it."""

    __slots__ = ("_began", "_connection", "_database", "_owner")

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def __aenter__(self) -> Session:
        try:
            self._connection = await self._database.take()
        except FAILURES as error:
            raise in_our_words(error) from error
        self._began = time.monotonic()
        try:
            await self._connection.speak_for(self._owner)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return cast("Session", self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        metrics.SESSION_SECONDS.observe(time.monotonic() - self._began)
        try:
            if error is None:
                await self._database.give_back(self._connection)
            else:
                await self._database.release(self._connection)
        except FAILURES as failure:
            raise in_our_words(failure) from failure
        if isinstance(error, FAILURES):
            raise in_our_words(error) from error


@asynccontextmanager
async def open_database(dsn: str, settings: Settings) -> AsyncGenerator[Database]:
    """Open a pool that connects when it is first needed, so that a worker starts without its database."""
    timeout_s = settings.store_statement_timeout_s
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=settings.worker_pool_size,
        max_inactive_connection_lifetime=IDLE_CONNECTION_S,
        command_timeout=timeout_s + COMMAND_MARGIN_S,
        timeout=settings.store_pool_wait_s,
        connection_class=OwnedConnection,
        init=_prepare,
        reset=_leave_as_is,
        server_settings={
            "application_name": "bobbin-store",
            "search_path": "bobbin",
            **PLANNING,
            "statement_timeout": str(round(timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(round((timeout_s + COMMAND_MARGIN_S) * 1000)),
        },
    )
    async with pool:
        database = Database(pool, settings)
        try:
            yield database
        finally:
            await database.close()


def _is_closed(connection: Any) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has it back already: so it does when the server hangs up
        return True


async def connect(dsn: str, timeout_s: float) -> Connection:
    """Open a connection of its own.

    Raises:
        Unavailable: The database does not answer.
        CannotStart: It refuses us, or the DSN cannot be understood.
    """
    try:
        return cast("Connection", await asyncpg.connect(dsn, timeout=cast("int", timeout_s)))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        text = str(error) or type(error).__name__
        if isinstance(error, (OSError, TimeoutError, *STARTING)):
            raise Unavailable(text) from error
        raise CannotStart(f"the database refuses the connection: {text}") from error


STARTING = (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=_as_is, decoder=_as_is, format="binary"
    )
    if await connection.fetchval(ABOVE_ROW_SECURITY):
        await connection.execute(STEP_DOWN)
    if tracing.is_on():
        connection.add_query_logger(add_span)


async def _leave_as_is(connection: Any) -> None:
    """Spare the round trip of a reset: `session` sets all that differs from one use to the next."""


def _as_is(document: bytes) -> bytes:
    return document
