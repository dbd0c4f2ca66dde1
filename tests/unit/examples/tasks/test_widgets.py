"""What the user sees is valid, says how things are, and can be read again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from chatkit.types import ThreadItem
from pydantic import TypeAdapter

from bobbin_protocol.items import WidgetItem
from tasks.store import Answer, Question, Task
from tasks.widgets import (
    Shown,
    answer_card,
    closed_card,
    numbers_in,
    question_card,
    question_in,
    task_list,
)

TASKS = [Task(1, "Milk", "open"), Task(20, "task-3", "completed"), Task(300, "Walk", "deleted")]
QUESTION = Question("abc", "deleted", TASKS)
YES = Answer("deleted", True, 3, is_first=True)


def stored(shown: Shown) -> WidgetItem:
    """The item as it comes back from the store; the reference accepts it."""
    item = WidgetItem(
        id="msg_1",
        thread_id="thr_1",
        created_at=datetime.now(UTC),
        widget=shown.widget,
        copy_text=shown.words,
    )
    plain: Any = msgspec.to_builtins(item)
    TypeAdapter[ThreadItem](ThreadItem).validate_python({**plain, "created_at": item.created_at})
    return msgspec.convert(plain, WidgetItem)


def labels(component: Any) -> list[str]:
    """Of all buttons, in order."""
    match component:
        case {"type": "Button", "label": label, "onClickAction": {"type": action}}:
            return [f"{label} {action}"]
        case {}:
            return [label for inner in component.values() for label in labels(inner)]
        case [*inner]:
            return [label for one in inner for label in labels(one)]
        case _:
            return []


def test_a_list_has_the_buttons_that_fit() -> None:
    """And the numbers of its tasks can be found in it."""
    item = stored(task_list(TASKS))
    assert labels(item.widget) == [
        "Done tasks.complete",
        "Delete tasks.delete",
        "Undo tasks.reopen",
        "Delete tasks.delete",
        "Undo tasks.restore",
    ]
    assert numbers_in(item) == [1, 20, 300]
    assert item.copy_text == "[ ] 1. Milk\n[x] 20. task-3\n[deleted] 300. Walk"
    assert question_in(item) is None


@pytest.mark.parametrize("shown", [task_list([]), question_card(QUESTION), answer_card(YES), closed_card()])
def test_what_is_no_list_shows_no_tasks_with_buttons(shown: Shown) -> None:
    item = stored(shown)
    assert numbers_in(item) == []
    assert labels(item.widget) == []


def test_a_question_has_two_answers_until_it_is_answered() -> None:
    widget: Any = stored(question_card(QUESTION)).widget
    assert (widget["confirm"]["label"], widget["cancel"]["label"]) == ("Yes, delete all", "Cancel")
    assert question_in(stored(question_card(QUESTION))) == "abc"
    for shown, words in (
        (answer_card(YES), "Deleted 3 tasks."),
        (answer_card(Answer("completed", True, 1, is_first=True)), "Completed 1 task."),
        (answer_card(Answer("deleted", False, 0, is_first=True)), "Nothing was deleted."),
    ):
        item = stored(shown)
        assert item.copy_text == words
        assert question_in(item) is None
        assert "confirm" not in str(item.widget)


@pytest.mark.parametrize(
    "widget",
    [
        {"type": "ListView"},
        {"type": "ListView", "key": "tasks", "children": [{"type": "ListViewItem", "key": "task-x"}]},
    ],
)
def test_a_list_of_something_else_is_no_list_of_ours(widget: dict[str, Any]) -> None:
    item = WidgetItem(id="msg_1", thread_id="thr_1", created_at=datetime.now(UTC), widget=widget)
    assert numbers_in(item) == []
    assert question_in(item) is None
