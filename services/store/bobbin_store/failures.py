"""What PostgreSQL and its driver say when something goes wrong, in our words."""
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import re
from typing import Final, TypeAlias

import asyncpg
import structlog

from bobbin_store import metrics
from bobbin_store.errors import Conflict, InvalidRequest, NotFound, StoreError, Unavailable

log = structlog.stdlib.get_logger()

DatabaseError: TypeAlias = asyncpg.PostgresError

CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""After these nobody knows whether what was being committed is."""

FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection used after the server's farewell, before its end is noticed
    OSError,
    TimeoutError,
)
"""All that asyncpg raises when it is not our own mistake in Python."""

TAKEN = {
    "threads_pkey": "A thread with this id exists already",
    "items_pkey": "An item with this id exists already in the thread",
    "attachments_pkey": "An attachment with this id exists already",
    "turns_pkey": "A turn with this id exists already",
    "turns_one_running": "Another turn has just begun in this thread",
    "turns_by_key": "Another turn has just begun with this idempotency key",
}

MISSING = {
    "items_thread_fkey": "There is no such thread",
    "turns_thread_fkey": "There is no such thread",
    "attachments_thread_fkey": "There is no such thread",
    "feedback_item_fkey": "There is no such item in the thread",
}


PARTITION: Final = re.compile(r"_p\d+\Z")
"""How the name of a unique constraint ends in a part of a table that is split (see `partition`)."""


def in_our_words(error: BaseException) -> StoreError:
    """Turn a failure of the database into one of ours; the one place that knows constraints and SQLSTATEs."""
    match error:
        case asyncpg.UniqueViolationError(constraint_name=str(name)) if (whole := _of_whole(name)) in TAKEN:
            return Conflict(TAKEN[whole])
        case asyncpg.ForeignKeyViolationError(constraint_name=str(name)) if name in MISSING:
            return NotFound(MISSING[name])
        case asyncpg.CharacterNotInRepertoireError() | asyncpg.UntranslatableCharacterError():
            return InvalidRequest("Text must not contain NUL", field="$")
        case asyncpg.ProgramLimitExceededError() | asyncpg.StatementTooComplexError():
            return InvalidRequest("Too large or too deeply nested to store", field="$")
        case asyncpg.PostgresError() if not isinstance(error, WORTH_ANOTHER_TRY):
            raise error
        case asyncpg.InterfaceError() if isinstance(
            error, ValueError
        ):  # an argument of ours that fits no parameter
            raise error
        case _:
            metrics.DATABASE_UNAVAILABLE.inc()
            log.warning("database unavailable", error=str(error) or type(error).__name__)
            return Unavailable("The database does not answer just now; try again")


def _of_whole(constraint: str) -> str:
    """Give the constraint's name in the whole table, if it is one of a part (see `partition`)."""
    return PARTITION.sub("", constraint)


WORTH_ANOTHER_TRY = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.InsufficientResourcesError,  # class 53: disk, memory, connections
    asyncpg.OperatorInterventionError,  # class 57: shutdown, start-up, statement timeout
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialisation
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, in the middle of a failover
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: credentials being rotated
    asyncpg.PostgresSystemError,  # class 58: input or output
)
