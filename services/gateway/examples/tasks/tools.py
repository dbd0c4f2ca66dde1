"""What a model can do with the tasks of the user who asks, and with no others.

Nothing is done to all tasks here: the user is asked, by a card whose buttons only they can press.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import FunctionTool, tool
from bobbin_gateway.tools.tool import ToolError
from tasks.store import MAX_TASKS, Change, NoSuchTask, State, Task, TaskStore, TooManyTasks
from tasks.widgets import Shown, described, question_card, task_list

Title = Annotated[str, Meta(max_length=200, pattern=r"\S")]
Number = Annotated[int, Meta(ge=1, le=2**53)]


class TaskTools:
    """The tools, over one store."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    def all(self) -> list[FunctionTool]:
        """Each of them."""
        return [
            tool(self.create_task),
            tool(self.list_tasks),
            tool(self.update_task),
            tool(self.complete_task),
            tool(self.delete_task),
            tool(self.complete_all_tasks),
            tool(self.delete_all_tasks),
        ]

    async def create_task(self, context: ToolContext, title: Title) -> str:
        """Create a task for the user, and show it.

        Args:
            title: What is to be done, in a line.
        """
        try:
            task = await self._store.create(context.owner_id, _one_line(title))
        except TooManyTasks:
            raise ToolError(f"There are {MAX_TASKS} tasks already; some must be deleted first.") from None
        await _show(context, task_list([task]))
        return f"Created: {described(task)}"

    async def list_tasks(self, context: ToolContext) -> str:
        """Show the user all their tasks, with buttons to complete and delete them."""
        tasks = await self._store.tasks(context.owner_id)
        shown = task_list(tasks)
        await _show(context, shown)
        return shown.words

    async def update_task(self, context: ToolContext, task: Number, title: Title) -> str:
        """Give a task another title.

        Args:
            task: Its number.
            title: The new title, in a line.
        """
        try:
            updated = await self._store.rename(context.owner_id, task, _one_line(title))
        except NoSuchTask:
            raise _missing(task) from None
        await _show(context, task_list([updated]))
        return f"Updated: {described(updated)}"

    async def complete_task(self, context: ToolContext, task: Number) -> str:
        """Mark a task as completed.

        Args:
            task: Its number.
        """
        return f"Completed: {described(await self._set_state(context, task, 'completed'))}"

    async def delete_task(self, context: ToolContext, task: Number) -> str:
        """Delete a task. The user can undo it.

        Args:
            task: Its number.
        """
        return f"Deleted: {described(await self._set_state(context, task, 'deleted'))}"

    async def complete_all_tasks(self, context: ToolContext) -> str:
        """Ask the user whether to complete all open tasks. Only they can confirm it, by a button."""
        return await self._ask(context, "completed")

    async def delete_all_tasks(self, context: ToolContext) -> str:
        """Ask the user whether to delete all tasks. Only they can confirm it, by a button."""
        return await self._ask(context, "deleted")

    async def _set_state(self, context: ToolContext, number: int, state: State) -> Task:
        try:
            task = await self._store.set_state(context.owner_id, number, state)
        except NoSuchTask:
            raise _missing(number) from None
        await _show(context, task_list([task]))
        return task

    async def _ask(self, context: ToolContext, change: Change) -> str:
        question = await self._store.ask(context.owner_id, change)
        if question is None:
            return "There are no such tasks."
        await _show(context, question_card(question))
        return f"The user is asked to confirm it by a button. Until then nothing is {change}."


async def _show(context: ToolContext, shown: Shown) -> None:
    await context.widget(shown.widget, copy_text=shown.words)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _missing(number: int) -> ToolError:
    return ToolError(f"There is no task {number}. list_tasks gives the numbers.")
