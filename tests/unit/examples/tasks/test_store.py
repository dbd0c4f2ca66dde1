"""Tasks of several owners, from several processes at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import store as store_module
from tasks.store import (
    MAX_TASKS,
    Answer,
    Change,
    NoSuchTask,
    Question,
    QuestionClosed,
    Task,
    TaskStore,
    TooManyTasks,
)
from tests.conftest import ROOT


async def _titles(store: TaskStore, owner: str) -> list[str]:
    return [task.title for task in await store.tasks(owner)]


async def test_what_is_created_is_listed_and_kept(store: TaskStore, tmp_path: Path) -> None:
    assert await store.create("ada", "Ünïcode ✓ 'quoted'; --") == Task(1, "Ünïcode ✓ 'quoted'; --", "open")
    await store.create("ada", "second")
    again = TaskStore(tmp_path / "new" / "tasks.sqlite3")
    assert await again.tasks("ada") == [Task(1, "Ünïcode ✓ 'quoted'; --", "open"), Task(2, "second", "open")]
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0, "tasks are nobody else's business"


async def test_a_task_can_be_renamed_completed_and_reopened(store: TaskStore) -> None:
    await store.create("ada", "Milk")
    assert await store.rename("ada", 1, "Oat milk") == Task(1, "Oat milk", "open")
    assert await store.set_state("ada", 1, "completed") == Task(1, "Oat milk", "completed")
    assert await store.set_state("ada", 1, "open") == Task(1, "Oat milk", "open")


async def test_a_deleted_task_is_gone_until_it_is_restored(store: TaskStore) -> None:
    await store.create("ada", "Milk")
    await store.set_state("ada", 1, "deleted")
    assert await store.tasks("ada") == []
    for attempt in (store.rename("ada", 1, "x"), store.set_state("ada", 1, "completed")):
        with pytest.raises(NoSuchTask):
            await attempt
    assert await store.get("ada", [1, 2]) == [Task(1, "Milk", "deleted")]
    assert await store.restore("ada", 1) == await store.restore("ada", 1) == Task(1, "Milk", "open")


async def test_a_number_is_never_given_twice(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when its task is gone for good: an old button must not hit another one."""
    await store.create("ada", "one")
    await store.set_state("ada", 1, "deleted")
    monkeypatch.setattr(store_module, "RESTORABLE_S", -1.0)
    assert (await store.create("ada", "two")).number == 2
    assert await store.get("ada", [1, 2]) == [Task(2, "two", "open")]
    with pytest.raises(NoSuchTask):
        await store.restore("ada", 1)


async def test_an_owner_reaches_only_their_own_tasks(store: TaskStore) -> None:
    await store.create("ada", "hers")
    await store.create("bob", "his")
    await store.create("bob", "his too")
    for attempt in (
        store.rename("ada", 2, "mine"),
        store.set_state("ada", 2, "deleted"),
        store.restore("ada", 2),
    ):
        with pytest.raises(NoSuchTask):
            await attempt
    assert await store.get("ada", [1, 2]) == [Task(1, "hers", "open")]
    await store.set_state("ada", 1, "completed")
    assert await store.tasks("bob") == [Task(1, "his", "open"), Task(2, "his too", "open")]


async def test_there_is_room_for_so_many_tasks(store: TaskStore) -> None:
    for number in range(MAX_TASKS):
        await store.create("ada", str(number))
    with pytest.raises(TooManyTasks):
        await store.create("ada", "one more")
    await store.set_state("ada", 1, "deleted")
    await store.create("ada", "one more")
    with pytest.raises(TooManyTasks):
        await store.restore("ada", 1)
    await store.create("bob", "another's")


async def asked(store: TaskStore, change: Change = "deleted", owner: str = "ada") -> Question:
    question = await store.ask(owner, change)
    assert question is not None
    return question


async def test_a_confirmation_is_good_once(store: TaskStore) -> None:
    """Who answers again, one way or the other, is told what became of the first answer."""
    await store.create("ada", "one")
    question = await asked(store)
    assert await store.answer("ada", question.id, yes=True) == Answer("deleted", True, 1, is_first=True)
    await store.restore("ada", 1)
    await store.create("ada", "two")
    for yes in (True, False):
        assert await store.answer("ada", question.id, yes=yes) == Answer("deleted", True, 1, is_first=False)
    assert await _titles(store, "ada") == ["one", "two"]


async def test_of_many_answers_at_once_one_counts(store: TaskStore) -> None:
    for title in "abc":
        await store.create("ada", title)
    question = await asked(store, "completed")
    answers = await asyncio.gather(*(store.answer("ada", question.id, yes=n % 2 == 0) for n in range(20)))
    [first] = [answer for answer in answers if answer.is_first]
    assert {(answer.yes, answer.changed) for answer in answers} == {(first.yes, first.changed)}
    states = [task.state for task in await store.tasks("ada")]
    assert states == ["completed" if first.yes else "open"] * 3


async def test_a_confirmation_is_about_the_tasks_that_it_showed(store: TaskStore) -> None:
    """Those that came later stay, those that are gone are not counted."""
    for title in ("a", "b", "c"):
        await store.create("ada", title)
    await store.set_state("ada", 1, "completed")
    question = await asked(store)
    assert [task.number for task in question.tasks] == [1, 2, 3]
    await store.create("ada", "later")
    await store.set_state("ada", 2, "deleted")
    assert (await store.answer("ada", question.id, yes=True)).changed == 2
    assert await _titles(store, "ada") == ["later"]


async def test_only_its_owner_can_answer(store: TaskStore) -> None:
    for owner in ("ada", "bob"):
        await store.create(owner, "one")
    question = await asked(store)
    await asked(store, owner="bob")
    with pytest.raises(QuestionClosed):
        await store.answer("bob", question.id, yes=True)
    assert await _titles(store, "bob") == ["one"]
    assert (await store.answer("ada", question.id, yes=True)).is_first


async def test_no_means_that_nothing_is_done_now_or_later(store: TaskStore) -> None:
    await store.create("ada", "one")
    question = await asked(store)
    assert await store.answer("ada", question.id, yes=False) == Answer("deleted", False, 0, is_first=True)
    assert await store.answer("ada", question.id, yes=True) == Answer("deleted", False, 0, is_first=False)
    assert await _titles(store, "ada") == ["one"]


async def test_asking_again_closes_the_question_before(store: TaskStore) -> None:
    """Of the same kind; the other kind stays open."""
    await store.create("ada", "one")
    first, other = await asked(store), await asked(store, "completed")
    second = await asked(store)
    with pytest.raises(QuestionClosed):
        await store.answer("ada", first.id, yes=True)
    assert (await store.answer("ada", other.id, yes=True)).changed == 1
    assert (await store.answer("ada", second.id, yes=True)).changed == 1
    third = await store.ask("ada", "deleted")
    assert third is None


async def test_without_tasks_there_is_no_question(store: TaskStore) -> None:
    assert await store.ask("ada", "deleted") is None
    await store.create("ada", "one")
    await store.set_state("ada", 1, "completed")
    assert await store.ask("ada", "completed") is None


WRITER = """
import asyncio, sys
from pathlib import Path
from tasks.store import TaskStore

async def main():
    store = TaskStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(store.create("ada", f"{sys.argv[2]}-{n}") for n in range(10)))

asyncio.run(main())
"""


def test_many_processes_write_at_once_from_the_first_moment_on(tmp_path: Path) -> None:
    """Each also wants to make the file; every task gets a number of its own."""
    path = tmp_path / "tasks" / "tasks.sqlite3"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(name)],
            cwd=ROOT / "services/gateway/examples",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in range(6)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, complaint = writer.communicate(timeout=30)
        assert (writer.returncode, complaint) == (0, "")
    tasks = asyncio.run(TaskStore(path).tasks("ada"))
    assert [task.number for task in tasks] == list(range(1, 61))


def test_every_statement_is_led_by_the_owner_and_uses_the_key(store: TaskStore, tmp_path: Path) -> None:
    """None scans a table, however many owners there are."""
    asyncio.run(store.tasks("ada"))
    database = sqlite3.connect(tmp_path / "new" / "tasks.sqlite3")
    statements = [
        text for name, text in vars(store_module).items() if name.isupper() and isinstance(text, str)
    ]
    statements.remove(store_module.SCHEMA)
    assert len(statements) >= 10
    for statement in statements:
        assert "owner_id" in statement
        values = ["1"] * max(statement.count("?"), 4)
        for count in range(1, len(values) + 1):
            try:
                plan = database.execute(f"EXPLAIN QUERY PLAN {statement}", values[:count]).fetchall()
                break
            except sqlite3.ProgrammingError:
                continue
        else:
            pytest.fail(statement)
        scans = [step[3] for step in plan if "SCAN" in step[3] and "json_each" not in step[3]]
        assert scans == [], statement
    database.close()
