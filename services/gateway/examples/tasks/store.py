"""Where the tasks are: a SQLite file, which any number of processes may use at once.

SQLite blocks, so each call runs in a thread, in one transaction, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from msgspec import Struct

T = TypeVar("T")

State: TypeAlias = Literal["open", "completed", "deleted"]
Change: TypeAlias = Literal["completed", "deleted"]
"""What can be done to all tasks at once: the state that they get."""

MAX_TASKS = 200
"""Of one owner, deleted ones left out."""
RESTORABLE_S = 7 * 24 * 3600.0
"""How long a deleted task can be brought back, at least."""
_BUSY_S = 5.0
"""How long a call waits for others who write."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS owners (
    owner_id TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL  -- no number is given twice: an old button must never hit another task
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    owner_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'completed', 'deleted')),
    changed_at REAL NOT NULL,  -- Unix time
    PRIMARY KEY (owner_id, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS questions (
    owner_id TEXT NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('completed', 'deleted')),
    id TEXT NOT NULL,
    numbers TEXT NOT NULL,  -- JSON
    yes INTEGER,  -- the answer; NULL while there is none
    changed INTEGER,  -- how many tasks the answer changed
    PRIMARY KEY (owner_id, change)
) STRICT, WITHOUT ROWID;
"""


class Task(Struct, frozen=True):
    """One task."""

    number: int
    """What its owner calls it; from 1 on."""
    title: str
    state: State


class Question(Struct, frozen=True):
    """Whether to do something to many tasks, which only their owner can answer, once."""

    id: str
    change: Change
    tasks: list[Task]
    """Those that it is about, and no others."""


class Answer(Struct, frozen=True):
    """What has become of a question."""

    change: Change
    yes: bool
    changed: int
    """How many tasks were changed."""
    is_first: bool
    """Whether it was answered just now; else it was answered so before, and nothing was done now."""


class NoSuchTask(Exception):
    """The owner has no such task."""


class TooManyTasks(Exception):
    """The owner has as many tasks as there may be."""


class QuestionClosed(Exception):
    """The owner has no such question, or it has been asked anew."""


class TaskStore:
    """The tasks of all owners. Every method is about one of them, and cannot reach another's."""

    def __init__(self, path: Path) -> None:
        """Use a file, which is made when it is first needed, with its folder."""
        self._path = path

    async def create(self, owner_id: str, title: str) -> Task:
        """Add an open task.

        Raises:
            TooManyTasks: There is no room.
        """
        return await self._run(_create, owner_id, title)

    async def tasks(self, owner_id: str) -> list[Task]:
        """All that are not deleted, by number."""
        return await self._run(_list, owner_id)

    async def get(self, owner_id: str, numbers: Sequence[int]) -> list[Task]:
        """Those that there are among these, deleted ones too, by number."""
        return await self._run(_get, owner_id, numbers)

    async def rename(self, owner_id: str, number: int, title: str) -> Task:
        """Give a task another title.

        Raises:
            NoSuchTask: There is none, or it is deleted.
        """
        return await self._run(_rename, owner_id, number, title)

    async def set_state(self, owner_id: str, number: int, state: State) -> Task:
        """Complete, reopen or delete a task.

        Raises:
            NoSuchTask: There is none, or it is deleted.
        """
        return await self._run(_set_state, owner_id, number, state)

    async def restore(self, owner_id: str, number: int) -> Task:
        """Make a deleted task an open one. Without effect on a task that is not deleted.

        Raises:
            NoSuchTask: There is none (any more).
            TooManyTasks: There is no room.
        """
        return await self._run(_restore, owner_id, number)

    async def ask(self, owner_id: str, change: Change) -> Question | None:
        """Note down a question about all open tasks, or all that there are; None if there are none.

        The same question, if it was open, is open no more.
        """
        return await self._run(_ask, owner_id, change)

    async def answer(self, owner_id: str, question_id: str, *, yes: bool) -> Answer:
        """Close a question. If the answer is yes, do it to those of its tasks that are still there.

        Only the first answer counts. To answer again does nothing, and gives what became of the first: who
        did not hear of it can ask again.

        Raises:
            QuestionClosed: It is not the owner's, or has been asked anew.
        """
        return await self._run(_answer, owner_id, question_id, yes)

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.to_thread(self._in_transaction, call, *arguments)

    def _in_transaction(self, call: Callable[..., T], *arguments: object) -> T:
        with closing(self._connect()) as database, _transaction(database):
            return call(database, *arguments)

    def _connect(self) -> sqlite3.Connection:
        if not self._path.exists():
            _make(self._path)
        return sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)


def _make(path: Path) -> None:
    """Make an empty file, elsewhere first: nobody must open it before it is complete.

    While others have it open, SQLite refuses to begin a write-ahead log, without any patience.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder) / path.name
        with closing(sqlite3.connect(new, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
            database.executescript(SCHEMA)
        with suppress(FileExistsError):  # another process was faster
            path.hardlink_to(new)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Generator[None]:
    # IMMEDIATE: two that read first and write then would else refuse each other.
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


# Tasks that were deleted long ago, so that a file does not grow for ever.
FORGET = "DELETE FROM tasks WHERE owner_id = ? AND state = 'deleted' AND changed_at < ?"
NEXT_NUMBER = """
INSERT INTO owners (owner_id, last_number) VALUES (?, 1)
ON CONFLICT (owner_id) DO UPDATE SET last_number = last_number + 1
RETURNING last_number
"""
INSERT = "INSERT INTO tasks (owner_id, number, title, state, changed_at) VALUES (?, ?, ?, 'open', ?)"


def _create(database: sqlite3.Connection, owner_id: str, title: str) -> Task:
    now = time.time()
    database.execute(FORGET, (owner_id, now - RESTORABLE_S))
    _check_room(database, owner_id)
    [(number,)] = database.execute(NEXT_NUMBER, (owner_id,)).fetchall()
    database.execute(INSERT, (owner_id, number, title, now))
    return Task(number, title, "open")


COUNT = "SELECT count(*) FROM tasks WHERE owner_id = ? AND state <> 'deleted'"


def _check_room(database: sqlite3.Connection, owner_id: str) -> None:
    if database.execute(COUNT, (owner_id,)).fetchone()[0] >= MAX_TASKS:
        raise TooManyTasks


LIST = "SELECT number, title, state FROM tasks WHERE owner_id = ? AND state <> 'deleted' ORDER BY number"


def _list(database: sqlite3.Connection, owner_id: str) -> list[Task]:
    return [Task(*row) for row in database.execute(LIST, (owner_id,))]


GET = """
SELECT number, title, state FROM tasks
WHERE owner_id = ? AND number IN (SELECT value FROM json_each(?)) ORDER BY number
"""


def _get(database: sqlite3.Connection, owner_id: str, numbers: Sequence[int]) -> list[Task]:
    return [Task(*row) for row in database.execute(GET, (owner_id, json.dumps(list(numbers))))]


RENAME = """
UPDATE tasks SET title = ?3, changed_at = ?4 WHERE owner_id = ?1 AND number = ?2 AND state <> 'deleted'
RETURNING number, title, state
"""


def _rename(database: sqlite3.Connection, owner_id: str, number: int, title: str) -> Task:
    return _only(database.execute(RENAME, (owner_id, number, title, time.time())).fetchall())


SET_STATE = """
UPDATE tasks SET state = ?3, changed_at = ?4 WHERE owner_id = ?1 AND number = ?2 AND state <> 'deleted'
RETURNING number, title, state
"""


def _set_state(database: sqlite3.Connection, owner_id: str, number: int, state: State) -> Task:
    return _only(database.execute(SET_STATE, (owner_id, number, state, time.time())).fetchall())


RESTORE = """
UPDATE tasks SET state = 'open', changed_at = ?3 WHERE owner_id = ?1 AND number = ?2
RETURNING number, title, state
"""


def _restore(database: sqlite3.Connection, owner_id: str, number: int) -> Task:
    match _get(database, owner_id, [number]):
        case [Task(state="deleted")]:
            _check_room(database, owner_id)
            return _only(database.execute(RESTORE, (owner_id, number, time.time())).fetchall())
        case [task]:
            return task
        case _:
            raise NoSuchTask


def _only(rows: Sequence[tuple[int, str, State]]) -> Task:
    if not rows:
        raise NoSuchTask
    return Task(*rows[0])


PUT_QUESTION = """
INSERT INTO questions (owner_id, change, id, numbers) VALUES (?, ?, ?, ?)
ON CONFLICT (owner_id, change)
DO UPDATE SET id = excluded.id, numbers = excluded.numbers, yes = NULL, changed = NULL
"""


def _ask(database: sqlite3.Connection, owner_id: str, change: Change) -> Question | None:
    tasks = [task for task in _list(database, owner_id) if change == "deleted" or task.state == "open"]
    if not tasks:
        return None
    question = Question(secrets.token_urlsafe(16), change, tasks)
    numbers = json.dumps([task.number for task in tasks])
    database.execute(PUT_QUESTION, (owner_id, change, question.id, numbers))
    return question


QUESTION = "SELECT change, numbers, yes, changed FROM questions WHERE owner_id = ? AND id = ?"
CHANGE_ALL = """
UPDATE tasks SET state = ?2, changed_at = ?3
WHERE owner_id = ?1 AND number IN (SELECT value FROM json_each(?4))
AND (state = 'open' OR (state = 'completed' AND ?2 = 'deleted'))
"""
CLOSE_QUESTION = "UPDATE questions SET yes = ?3, changed = ?4 WHERE owner_id = ?1 AND id = ?2"


def _answer(database: sqlite3.Connection, owner_id: str, question_id: str, yes: bool) -> Answer:  # noqa: FBT001
    row = database.execute(QUESTION, (owner_id, question_id)).fetchone()
    if row is None:
        raise QuestionClosed
    change, numbers, answered, changed = row
    if answered is not None:
        return Answer(change, bool(answered), changed, is_first=False)
    changed = 0
    if yes:
        changed = database.execute(CHANGE_ALL, (owner_id, change, time.time(), numbers)).rowcount
    database.execute(CLOSE_QUESTION, (owner_id, question_id, yes, changed))
    return Answer(change, yes, changed, is_first=True)
