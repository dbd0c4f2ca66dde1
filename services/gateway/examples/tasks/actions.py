"""What the buttons of the widgets do. Anyone can send any action with any payload: all of it is checked.

The widget that sent an action is the thread's own, as the gateway has it in the store, so a payload must name
a task or a question that this widget shows. And whatever it names, only the owner's own can be reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bobbin_gateway import replies
from bobbin_gateway.agent import AgentError, Turn
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadItemReplacedEvent, ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.responses import SyncCustomActionResponse
from bobbin_protocol.widgets import plain_widget
from tasks.store import NoSuchTask, QuestionClosed, State, TaskStore, TooManyTasks
from tasks.widgets import (
    CANCEL,
    COMPLETE,
    CONFIRM,
    DELETE,
    REOPEN,
    RESTORE,
    OfQuestion,
    OfTask,
    Shown,
    answer_card,
    closed_card,
    described,
    numbers_in,
    question_in,
    task_list,
)

T = TypeVar("T")

_STATES: dict[str, State] = {COMPLETE: "completed", REOPEN: "open", DELETE: "deleted"}


class _Effect(Struct, frozen=True):
    """What an action has brought about."""

    shown: Shown
    """In the place of the widget that sent it."""
    told: str
    """For the model."""


class TaskActions:
    """The handlers, over one store."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    async def on_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> AsyncIterator[ThreadStreamEvent]:
        """React to a button: the widget shows how things are now, and the model learns of it.

        Raises:
            AgentError: There is no such button.
        """
        sender = _known(sender)
        effect = await self._effect(turn.owner_id, action, sender)
        yield ThreadItemReplacedEvent(item=_updated(sender, effect.shown))
        yield replies.hidden(turn, effect.told)

    async def on_sync_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> SyncCustomActionResponse:
        """React to a button that begins no turn: the model learns of it by the widget's words.

        Raises:
            AgentError: There is no such button.
        """
        sender = _known(sender)
        effect = await self._effect(turn.owner_id, action, sender)
        return SyncCustomActionResponse(updated_item=_updated(sender, effect.shown))

    async def _effect(self, owner_id: str, action: Action, sender: WidgetItem) -> _Effect:
        if action.type in {*_STATES, RESTORE}:
            number = _payload(action, OfTask).task
            return await self._change(owner_id, number, _STATES.get(action.type), numbers_in(sender))
        if action.type in {CONFIRM, CANCEL}:
            question = _payload(action, OfQuestion).question
            return await self._answer(owner_id, question, question_in(sender), yes=action.type == CONFIRM)
        raise _no_such_button(f"unknown action {action.type[:100]!r}")

    async def _change(self, owner_id: str, number: int, state: State | None, shown: list[int]) -> _Effect:
        """Give a task another state (None: bring it back), and show all tasks of its list as they are now."""
        if number not in shown:
            raise _no_such_button(f"task {number} is not among {shown}")
        try:
            if state is None:
                task = await self._store.restore(owner_id, number)
            else:
                task = await self._store.set_state(owner_id, number, state)
            told = f"By a button, the user made it: {described(task)}"
        except NoSuchTask:  # deleted meanwhile: the list will say so
            told = f"The user pressed a button of task {number}, which is deleted; nothing was done."
        except TooManyTasks as error:
            raise AgentError("There are too many tasks to bring back another.", allow_retry=False) from error
        return _Effect(task_list(await self._store.get(owner_id, shown)), told)

    async def _answer(self, owner_id: str, question_id: str, shown: str | None, *, yes: bool) -> _Effect:
        if question_id != shown:
            raise _no_such_button("another question")
        try:
            answer = await self._store.answer(owner_id, question_id, yes=yes)
        except QuestionClosed:
            return _Effect(closed_card(), "The user answered a question that was not open any more.")
        card = answer_card(answer)
        if not answer.is_first:
            return _Effect(card, f"The user answered again what was answered before: {card.words}")
        return _Effect(card, f"The user answered {'yes' if yes else 'no'}. {card.words}")


def _known(sender: WidgetItem | None) -> WidgetItem:
    if sender is None:
        raise _no_such_button("no widget sent it")
    return sender


def _payload(action: Action, kind: type[T]) -> T:
    try:
        return msgspec.convert(action.payload, kind)
    except msgspec.ValidationError as error:
        raise _no_such_button(str(error)) from error


def _updated(sender: WidgetItem, shown: Shown) -> WidgetItem:
    return replace(sender, widget=plain_widget(shown.widget), copy_text=shown.words)


def _no_such_button(detail: str) -> AgentError:
    return AgentError("This button is not there any more.", allow_retry=False, detail=detail)
