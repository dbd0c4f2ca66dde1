"""The steps of an answer as the user sees them: tasks of a workflow that folds up when the agent speaks.

A turn has one open workflow at a time. It begins with the first step, or with the model's thoughts, and ends
before the next message or other visible item, as in the reference (``agents.py``, ``stream_agent_response``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import ThreadItem, WorkflowItem
from bobbin_protocol.tasks import DurationSummary, Task, Workflow, WorkflowSummary
from bobbin_protocol.updates import WorkflowTaskAdded, WorkflowTaskUpdated


class StepsState(Struct, frozen=True, array_like=True):
    """What `Steps.restored` needs beside the workflow's item."""

    item_id: str
    keys: list[str]
    """Of the tasks, in their order."""


class Steps:
    """The open workflow of a turn; all methods give the events that show what they did."""

    __slots__ = ("_item", "_places", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._item: WorkflowItem | None = None
        self._places: dict[str, int] = {}

    @classmethod
    def restored(cls, turn: Turn, state: StepsState | None, items: Sequence[ThreadItem]) -> Steps:
        """The steps as they were when `state` was taken and the turn had made these items.

        Raises:
            LookupError: They do not belong together.
        """
        steps = cls(turn)
        if state is not None:
            found = {item.id: item for item in items if isinstance(item, WorkflowItem)}
            steps._item = found[state.item_id]
            steps._places = {key: place for place, key in enumerate(state.keys)}
        return steps

    def state(self) -> StepsState | None:
        """What can be restored; None if no workflow is open."""
        return None if self._item is None else StepsState(self._item.id, list(self._places))

    @property
    def is_open(self) -> bool:
        """Whether there is a workflow that tasks are put into."""
        return self._item is not None

    def think(self) -> list[ThreadStreamEvent]:
        """Show that the model thinks, though nothing is known yet of what."""
        return [] if self._item is not None else [ThreadItemAddedEvent(item=self._open("reasoning", []))]

    def put(self, key: str, task: Task) -> list[ThreadStreamEvent]:
        """Show a task, or how it stands by now.

        Args:
            key: Which task it is, among those of the open workflow.
            task: Not to be changed afterwards.
        """
        item = self._item
        if item is None:
            self._places[key] = 0
            return [ThreadItemAddedEvent(item=self._open("custom", [task]))]
        tasks, place = item.workflow.tasks, self._places.get(key)
        if place is None:
            self._places[key] = place = len(tasks)
            tasks.append(task)
            added = WorkflowTaskAdded(task_index=place, task=task)
            return [ThreadItemUpdatedEvent(item_id=item.id, update=added)]
        if tasks[place] == task:
            return []
        tasks[place] = task
        updated = WorkflowTaskUpdated(task_index=place, task=task)
        return [ThreadItemUpdatedEvent(item_id=item.id, update=updated)]

    def task(self, key: str) -> Task | None:
        """The task as it was put last; None if the open workflow has no such task."""
        place = self._places.get(key)
        return None if self._item is None or place is None else self._item.workflow.tasks[place]

    def close(
        self, summary: WorkflowSummary | None = None, *, expanded: bool = False
    ) -> list[ThreadStreamEvent]:
        """End the workflow, if one is open. Without a summary it is how long it took.

        Steps that were not said to have ended seem to go on no longer.
        """
        item, self._item = self._item, None
        self._places = {}
        if item is None:
            return []
        workflow = item.workflow
        workflow.summary = summary or DurationSummary(duration=_seconds_since(item.created_at))
        workflow.expanded = expanded
        workflow.tasks = [
            replace(task, status_indicator="none") if task.status_indicator == "loading" else task
            for task in workflow.tasks
        ]
        return [ThreadItemDoneEvent(item=item)]

    def _open(self, kind: Literal["custom", "reasoning"], tasks: list[Task]) -> WorkflowItem:
        """A workflow; gives a copy for the event, since ours goes on changing."""
        self._item = WorkflowItem(
            id=self._turn.new_id("workflow"),
            thread_id=self._turn.thread.id,
            created_at=datetime.now(UTC),
            workflow=Workflow(type=kind, tasks=list(tasks)),
        )
        return WorkflowItem(
            id=self._item.id,
            thread_id=self._item.thread_id,
            created_at=self._item.created_at,
            workflow=Workflow(type=kind, tasks=tasks),
        )


def _seconds_since(moment: datetime) -> int:
    return max(0, int((datetime.now(UTC) - moment).total_seconds()))
