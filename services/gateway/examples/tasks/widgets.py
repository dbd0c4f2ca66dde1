"""What the user sees: a list of tasks, and a question about many. Each button is an action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from bobbin_protocol.items import WidgetItem
from bobbin_protocol.widgets import (
    ActionConfig,
    Badge,
    Button,
    Caption,
    Card,
    CardAction,
    Icon,
    ListView,
    ListViewItem,
    Row,
    Spacer,
    Text,
    Title,
    WidgetRoot,
)
from tasks.store import Answer, Change, Question, State, Task

COMPLETE, REOPEN = "tasks.complete", "tasks.reopen"
DELETE, RESTORE = "tasks.delete", "tasks.restore"
CONFIRM, CANCEL = "tasks.confirm", "tasks.cancel"

_NAMED = 10
"""Tasks of a question that are named; the others are counted."""
_MARKS: dict[State, str] = {"open": " ", "completed": "x", "deleted": "deleted"}
_VERBS: dict[Change, str] = {"completed": "complete", "deleted": "delete"}


class OfTask(Struct, frozen=True, forbid_unknown_fields=True):
    """What the buttons of a task send."""

    task: int


class OfQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """What the buttons of a question send."""

    question: str


class Shown(Struct, frozen=True):
    """A widget, and the same in words: for its copy button, and for the model in later turns."""

    widget: WidgetRoot
    words: str


def task_list(tasks: Sequence[Task]) -> Shown:
    """Tasks with their buttons; deleted ones can be brought back."""
    if not tasks:
        return Shown(Card(key="tasks", children=[Text(value="No tasks")]), "No tasks")
    widget = ListView(key="tasks", children=[_entry(task) for task in tasks])
    return Shown(widget, "\n".join(map(described, tasks)))


def described(task: Task) -> str:
    """A task in a line of words."""
    return f"[{_MARKS[task.state]}] {task.number}. {task.title}"


def numbers_in(sender: WidgetItem) -> list[int]:
    """The numbers of the tasks that a list shows. It comes from the thread, not from the client."""
    root = _fields(sender.widget)
    if root.get("type") != "ListView" or root.get("key") != "tasks":
        return []
    keys = [str(_fields(entry).get("key", "")) for entry in cast("list[Any]", root.get("children") or [])]
    return [int(number) for key in keys if (number := key.removeprefix("task-")).isdecimal()]


def _fields(component: object) -> dict[str, Any]:
    return cast("dict[str, Any]", component) if isinstance(component, dict) else {}


def _entry(task: Task) -> ListViewItem:
    shown: list[Any] = [
        Icon(name="check-circle-filled" if task.state == "completed" else "empty-circle"),
        Text(
            value=task.title,
            lineThrough=task.state != "open" or None,
            color="secondary" if task.state != "open" else None,
        ),
        Caption(value=f"#{task.number}"),
    ]
    if task.state == "deleted":
        shown.append(Badge(label="Deleted", color="secondary"))
    row = Row(gap=2, align="center", children=[*shown, Spacer(), *_buttons(task)])
    return ListViewItem(key=f"task-{task.number}", children=[row])


def _buttons(task: Task) -> list[Button]:
    match task.state:
        case "open":
            return [_button("Done", COMPLETE, task, quick=True), _button("Delete", DELETE, task)]
        case "completed":
            return [_button("Undo", REOPEN, task, quick=True), _button("Delete", DELETE, task)]
        case "deleted":
            return [_button("Undo", RESTORE, task)]


def _button(label: str, action: str, task: Task, *, quick: bool = False) -> Button:
    """A button; a quick one does not wait for an answer that is under way, and begins no turn."""
    config = ActionConfig(type=action, payload=OfTask(task.number), streaming=not quick)
    return Button(label=label, size="sm", variant="outline", onClickAction=config)


def question_card(question: Question) -> Shown:
    """A question with its two answers."""
    verb, count = _VERBS[question.change], _counted(len(question.tasks))
    named = [Text(value=described(task)) for task in question.tasks[:_NAMED]]
    if len(question.tasks) > _NAMED:
        named.append(Text(value=f"and {len(question.tasks) - _NAMED} more", color="secondary"))
    payload = OfQuestion(question.id)
    card = Card(
        key=f"question-{question.id}",
        children=[Title(value=f"{verb.capitalize()} {count}?", size="sm"), *named],
        confirm=CardAction(label=f"Yes, {verb} all", action=ActionConfig(type=CONFIRM, payload=payload)),
        cancel=CardAction(label="Cancel", action=ActionConfig(type=CANCEL, payload=payload)),
    )
    return Shown(card, f"{verb.capitalize()} {count}? (not answered yet)")


def question_in(sender: WidgetItem) -> str | None:
    """The id of the question that a card asks. It comes from the thread, not from the client."""
    key = str(_fields(sender.widget).get("key", ""))
    return key.removeprefix("question-") if key.startswith("question-") else None


def answer_card(answer: Answer) -> Shown:
    """What has become of a question."""
    words = (
        f"{answer.change.capitalize()} {_counted(answer.changed)}."
        if answer.yes
        else f"Nothing was {answer.change}."
    )
    return Shown(Card(key="answered", children=[Text(value=words)]), words)


def closed_card() -> Shown:
    """In the place of a question that is not open any more."""
    words = "This question is not open any more."
    return Shown(Card(key="answered", children=[Text(value=words, color="secondary")]), words)


def _counted(tasks: int) -> str:
    return "1 task" if tasks == 1 else f"{tasks} tasks"
