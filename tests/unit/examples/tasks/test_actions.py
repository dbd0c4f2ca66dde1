"""Buttons do what they say, once, for the one who sees them; whatever else is sent does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bobbin_gateway.agent import AgentError
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadItemReplacedEvent
from bobbin_protocol.items import HiddenContextItem, WidgetItem
from tasks.actions import TaskActions
from tasks.store import MAX_TASKS, Task, TaskStore
from tasks.widgets import question_in
from tests.unit.examples.tasks.conftest import User

Users = Callable[[str], User]


@pytest.fixture
def actions(store: TaskStore) -> TaskActions:
    return TaskActions(store)


async def press(
    actions: TaskActions, user: User, sender: WidgetItem | None, kind: str, payload: Any
) -> tuple[WidgetItem, str]:
    """The widget after a button was pressed, and what the model is told."""
    action = Action(type=kind, payload=payload)
    [replaced, hidden] = [event async for event in actions.on_action(user.turn, action, sender)]
    assert isinstance(replaced, ThreadItemReplacedEvent)
    assert isinstance(replaced.item, WidgetItem)
    assert isinstance(hidden, ThreadItemDoneEvent)
    assert isinstance(hidden.item, HiddenContextItem)
    return replaced.item, hidden.item.content


async def with_tasks(user: User, *titles: str) -> WidgetItem:
    """The list of all tasks, after these were created."""
    for title in titles:
        await user.call("create_task", title=title)
    await user.call("list_tasks")
    return user.shown[-1]


async def asked(user: User, tool: str = "delete_all_tasks") -> tuple[WidgetItem, dict[str, Any]]:
    """The card of a question, and what its buttons send."""
    await user.call(tool)
    return user.shown[-1], {"question": question_in(user.shown[-1])}


async def test_buttons_change_a_task_and_its_list_in_place(user: Users, actions: TaskActions) -> None:
    ada = user("ada")
    listed = await with_tasks(ada, "a", "b")
    for kind, mark, words in (
        ("tasks.complete", "[x]", "[x] 1. a\n[ ] 2. b"),
        ("tasks.reopen", "[ ]", "[ ] 1. a\n[ ] 2. b"),
        ("tasks.delete", "[deleted]", "[deleted] 1. a\n[ ] 2. b"),
        ("tasks.restore", "[ ]", "[ ] 1. a\n[ ] 2. b"),
    ):
        now, told = await press(actions, ada, listed, kind, {"task": 1})
        assert (now.id, now.copy_text) == (listed.id, words)
        assert told == f"By a button, the user made it: {mark} 1. a"
        listed = now
    assert await ada.call("list_tasks") == "[ ] 1. a\n[ ] 2. b"


async def test_a_list_shows_its_own_tasks_only_also_after_others_came(
    user: Users, actions: TaskActions
) -> None:
    ada = user("ada")
    listed = await with_tasks(ada, "a", "b")
    await ada.call("create_task", title="later")
    now, _ = await press(actions, ada, listed, "tasks.complete", {"task": 2})
    assert now.copy_text == "[ ] 1. a\n[x] 2. b"


async def test_a_quick_button_gives_the_list_without_a_turn(user: Users, actions: TaskActions) -> None:
    ada = user("ada")
    listed = await with_tasks(ada, "a")
    answer = await actions.on_sync_action(
        ada.turn, Action(type="tasks.complete", payload={"task": 1}), listed
    )
    assert isinstance(answer.updated_item, WidgetItem)
    assert (answer.updated_item.id, answer.updated_item.copy_text) == (listed.id, "[x] 1. a")


async def test_a_button_that_is_pressed_again_or_too_late_does_no_harm(
    user: Users, actions: TaskActions
) -> None:
    """The list then says how things are."""
    ada = user("ada")
    listed = await with_tasks(ada, "a")
    for _ in range(2):
        now, _ = await press(actions, ada, listed, "tasks.complete", {"task": 1})
        assert now.copy_text == "[x] 1. a"
    await ada.call("delete_task", task=1)
    for kind in ("tasks.complete", "tasks.reopen", "tasks.delete"):
        now, told = await press(actions, ada, listed, kind, {"task": 1})
        assert now.copy_text == "[deleted] 1. a"
        assert "nothing was done" in told


async def test_a_task_cannot_be_brought_back_where_there_is_no_room(
    user: Users, actions: TaskActions, store: TaskStore
) -> None:
    ada = user("ada")
    listed = await with_tasks(ada, "a")
    await ada.call("delete_task", task=1)
    for number in range(MAX_TASKS):
        await store.create("ada", str(number))
    with pytest.raises(AgentError, match="too many"):
        await press(actions, ada, listed, "tasks.restore", {"task": 1})


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("tasks.delete", {"task": 2}),
        ("tasks.delete", {"task": 99}),
        ("tasks.delete", {"task": 10**40}),
        ("tasks.delete", {"task": "1"}),
        ("tasks.delete", {"task": True}),
        ("tasks.delete", {"task": 1, "owner_id": "bob"}),
        ("tasks.delete", {"question": "x"}),
        ("tasks.delete", {}),
        ("tasks.delete", None),
        ("tasks.delete", [1]),
        ("tasks.confirm", {"question": "x"}),
        ("tasks.confirm", {"question": None}),
        ("tasks.confirm", {"task": 1}),
        ("tasks.drop", {"task": 1}),
        ("", None),
    ],
)
async def test_what_no_button_of_the_widget_sends_is_refused(
    user: Users, actions: TaskActions, kind: str, payload: Any
) -> None:
    ada = user("ada")
    await with_tasks(ada, "a", "b")
    await ada.call("update_task", task=1, title="A")
    shows_one = ada.shown[-1]
    for sender in (shows_one, None):
        with pytest.raises(AgentError):
            await press(actions, ada, sender, kind, payload)
        with pytest.raises(AgentError):
            await actions.on_sync_action(ada.turn, Action(type=kind, payload=payload), sender)
    assert await ada.call("list_tasks") == "[ ] 1. A\n[ ] 2. b"


async def test_another_owner_cannot_press_a_button(
    user: Users, actions: TaskActions, store: TaskStore
) -> None:
    """Even if the gateway were wrong about the sender: it would be their own tasks."""
    ada, eve = user("ada"), user("eve")
    listed = await with_tasks(ada, "a")
    card, payload = await asked(ada)
    now, told = await press(actions, eve, listed, "tasks.delete", {"task": 1})
    assert (now.copy_text, "nothing was done" in told) == ("No tasks", True)
    now, _ = await press(actions, eve, card, "tasks.confirm", payload)
    assert now.copy_text == "This question is not open any more."
    assert await store.tasks("ada") == [Task(1, "a", "open")]
    now, _ = await press(actions, ada, card, "tasks.confirm", payload)
    assert now.copy_text == "Deleted 1 task."


async def test_yes_does_it_and_no_does_not(user: Users, actions: TaskActions) -> None:
    ada = user("ada")
    await with_tasks(ada, "a", "b")
    card, payload = await asked(ada, "complete_all_tasks")
    now, told = await press(actions, ada, card, "tasks.cancel", payload)
    assert (now.id, now.copy_text) == (card.id, "Nothing was completed.")
    assert told == "The user answered no. Nothing was completed."
    card, payload = await asked(ada, "complete_all_tasks")
    now, told = await press(actions, ada, card, "tasks.confirm", payload)
    assert told == "The user answered yes. Completed 2 tasks."
    assert await ada.call("list_tasks") == "[x] 1. a\n[x] 2. b"


@pytest.mark.parametrize(
    ("answer", "words"),
    [("tasks.confirm", "Deleted 1 task."), ("tasks.cancel", "Nothing was deleted.")],
)
async def test_an_answer_cannot_be_replayed(
    user: Users, actions: TaskActions, answer: str, words: str
) -> None:
    """Neither from the card as it is now, nor from a copy of it as it was: that shows the first answer."""
    ada = user("ada")
    await with_tasks(ada, "a")
    card, payload = await asked(ada)
    answered, _ = await press(actions, ada, card, answer, payload)
    assert answered.copy_text == words
    await with_tasks(ada, "b")
    before = await ada.call("list_tasks")
    with pytest.raises(AgentError):
        await press(actions, ada, answered, "tasks.confirm", payload)
    again, told = await press(actions, ada, card, "tasks.confirm", payload)
    assert (again, told) == (answered, f"The user answered again what was answered before: {words}")
    assert await ada.call("list_tasks") == before


async def test_a_question_that_was_asked_anew_is_closed(user: Users, actions: TaskActions) -> None:
    ada = user("ada")
    await with_tasks(ada, "a")
    card, payload = await asked(ada)
    await asked(ada)
    now, _ = await press(actions, ada, card, "tasks.confirm", payload)
    assert now.copy_text == "This question is not open any more."
    assert await ada.call("list_tasks") == "[ ] 1. a"


async def test_of_many_confirmations_at_once_one_counts(user: Users, actions: TaskActions) -> None:
    """And the card says so, whichever comes last."""
    ada = user("ada")
    await with_tasks(ada, "a", "b")
    card, payload = await asked(ada)
    pressed = await asyncio.gather(*(press(actions, ada, card, "tasks.confirm", payload) for _ in range(10)))
    assert {now.copy_text for now, _ in pressed} == {"Deleted 2 tasks."}
    assert [told for _, told in pressed].count("The user answered yes. Deleted 2 tasks.") == 1


async def test_a_card_answers_its_own_question_only(user: Users, actions: TaskActions) -> None:
    ada = user("ada")
    await with_tasks(ada, "a")
    completing, _ = await asked(ada, "complete_all_tasks")
    _, deleting = await asked(ada, "delete_all_tasks")
    with pytest.raises(AgentError):
        await press(actions, ada, completing, "tasks.confirm", deleting)
    assert await ada.call("list_tasks") == "[ ] 1. a"
