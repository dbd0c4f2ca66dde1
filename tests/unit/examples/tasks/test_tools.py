"""What a model can do with a user's tasks, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bobbin_gateway.tools.tool import ToolError
from tasks.store import MAX_TASKS, TaskStore
from tasks.widgets import numbers_in, question_in
from tests.unit.examples.tasks.conftest import User

Users = Callable[[str], User]


async def test_tasks_are_created_listed_updated_completed_and_deleted(user: Users) -> None:
    ada = user("ada")
    assert await ada.call("create_task", title="  Buy\nmilk ") == "Created: [ ] 1. Buy milk"
    await ada.call("create_task", title="Walk")
    assert await ada.call("list_tasks") == "[ ] 1. Buy milk\n[ ] 2. Walk"
    assert await ada.call("update_task", task=2, title="Walk the dog") == "Updated: [ ] 2. Walk the dog"
    assert await ada.call("complete_task", task=1) == "Completed: [x] 1. Buy milk"
    assert await ada.call("delete_task", task=2) == "Deleted: [deleted] 2. Walk the dog"
    assert await ada.call("list_tasks") == "[x] 1. Buy milk"


async def test_each_call_shows_the_tasks_that_it_is_about(user: Users) -> None:
    ada = user("ada")
    await ada.call("list_tasks")
    for title in ("a", "b"):
        await ada.call("create_task", title=title)
    await ada.call("list_tasks")
    await ada.call("complete_task", task=2)
    assert [numbers_in(item) for item in ada.shown] == [[], [1], [2], [1, 2], [2]]
    assert [item.copy_text for item in ada.shown] == [
        "No tasks",
        "[ ] 1. a",
        "[ ] 2. b",
        "[ ] 1. a\n[ ] 2. b",
        "[x] 2. b",
    ]


@pytest.mark.parametrize(
    ("tool", "more"), [("update_task", {"title": "x"}), ("complete_task", {}), ("delete_task", {})]
)
async def test_a_task_that_is_not_there_is_told_to_the_model(
    user: Users, tool: str, more: dict[str, Any]
) -> None:
    """Another owner's task is not there, either."""
    ada, bob = user("ada"), user("bob")
    for title in ("a", "b"):
        await bob.call("create_task", title=title)
    await ada.call("create_task", title="mine")
    await ada.call("delete_task", task=1)
    for number in (1, 2):
        with pytest.raises(ToolError, match=f"no task {number}"):
            await ada.call(tool, task=number, **more)
    assert await bob.call("list_tasks") == "[ ] 1. a\n[ ] 2. b"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"title": ""},
        {"title": " \n"},
        {"title": "x" * 201},
        {"title": 1},
        {"title": "x", "owner_id": "bob"},
    ],
)
async def test_arguments_that_do_not_fit_change_nothing(user: Users, arguments: dict[str, Any]) -> None:
    ada = user("ada")
    with pytest.raises(ToolError):
        await ada.call("create_task", **arguments)
    assert await ada.call("list_tasks") == "No tasks"


async def test_there_is_an_end_to_tasks(user: Users, store: TaskStore) -> None:
    for number in range(MAX_TASKS):
        await store.create("ada", str(number))
    with pytest.raises(ToolError, match=str(MAX_TASKS)):
        await user("ada").call("create_task", title="one more")


@pytest.mark.parametrize(
    ("tool", "done"), [("complete_all_tasks", "completed"), ("delete_all_tasks", "deleted")]
)
async def test_a_model_can_only_ask_to_do_something_to_all_tasks(user: Users, tool: str, done: str) -> None:
    ada = user("ada")
    assert await ada.call(tool) == "There are no such tasks."
    for number in range(12):
        await ada.call("create_task", title=f"Task {number}")
    assert f"Until then nothing is {done}" in await ada.call(tool)
    question = ada.shown[-1]
    assert question_in(question)
    assert "and 2 more" in str(question.widget)
    assert (await ada.call("list_tasks")).count("[ ]") == 12


def test_nothing_that_a_model_can_call_takes_an_owner_or_an_answer(user: Users) -> None:
    taken = {name for tool in user("ada").tools.values() for name in tool.spec.parameters["properties"]}
    assert taken == {"task", "title"}
