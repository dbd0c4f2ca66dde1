"""What goes wrong in the database, in our words."""

from __future__ import annotations

import asyncpg
import pytest

from bobbin_store.errors import Conflict, InvalidRequest, NotFound, Unavailable
from bobbin_store.failures import in_our_words


def postgres_error(kind: type[asyncpg.PostgresError], constraint: str = "") -> asyncpg.PostgresError:
    return kind.new({"C": kind.sqlstate, "M": "x", "n": constraint})  # type: ignore[attr-defined] (asyncpg's own way)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (postgres_error(asyncpg.UniqueViolationError, "threads_pkey"), Conflict),
        (postgres_error(asyncpg.UniqueViolationError, "items_pkey"), Conflict),
        (postgres_error(asyncpg.ForeignKeyViolationError, "items_thread_fkey"), NotFound),
        (postgres_error(asyncpg.CharacterNotInRepertoireError), InvalidRequest),
        (postgres_error(asyncpg.StatementTooComplexError), InvalidRequest),
        (postgres_error(asyncpg.AdminShutdownError), Unavailable),
        (postgres_error(asyncpg.QueryCanceledError), Unavailable),
        (postgres_error(asyncpg.DeadlockDetectedError), Unavailable),
        (postgres_error(asyncpg.DiskFullError), Unavailable),
        (postgres_error(asyncpg.ReadOnlySQLTransactionError), Unavailable),
        (asyncpg.InterfaceError("connection is closed"), Unavailable),
        (asyncpg.InternalClientError("cannot switch to state 12"), Unavailable),
        (ConnectionRefusedError(), Unavailable),
        (TimeoutError(), Unavailable),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_failures_of_the_database_are_told_in_our_words(error: Exception, ours: type[Exception]) -> None:
    told = in_our_words(error)
    assert type(told) is ours
    assert "pkey" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        postgres_error(asyncpg.UndefinedTableError),
        postgres_error(asyncpg.UniqueViolationError, "some_other_key"),
        postgres_error(asyncpg.CheckViolationError, "turns_state_check"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_own_mistakes_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)):
        in_our_words(error)
