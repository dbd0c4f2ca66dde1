"""What the tools, hooks and guardrails of a run are given: the turn, and ways to show something meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.agents_sdk.output import RunOutput
from bobbin_gateway.tools.context import ToolContext
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.tasks import CustomTask, Task, WorkflowSummary

Showing: TypeAlias = Callable[[RunOutput], list[ThreadStreamEvent]]
"""What is to be shown, given what the run has shown by then."""

_MOST_WAITING = 100
"""What may be shown before the run is read. Afterwards each tool has at most one thing waiting."""


class ClientToolRequest(Struct, frozen=True):
    """A function of the user's page that is to be called when the turn ends."""

    name: str
    arguments: dict[str, Any]


class Waiting(Struct, frozen=True):
    """Something that is to be shown, and whose tool waits until it is."""

    showing: Showing
    shown: asyncio.Future[None]

    def show(self, output: RunOutput) -> list[ThreadStreamEvent]:
        """The events that show it; lets the tool go on."""
        try:
            return self.showing(output)
        finally:
            if not self.shown.done():
                self.shown.set_result(None)


class ChatContext(ToolContext):
    """The context of one run (``RunContextWrapper.context``); a subclass may carry more.

    Whoever shows something waits until it is on its way, so that it stands before what they do next; a slow
    reader slows tools down.

    It does what the reference's ``AgentContext`` does: `widget` is ``stream_widget``, `emit` is ``stream``,
    `call_client_tool` sets ``client_tool_call``, and `task` adds or updates a task, by a key of yours instead
    of an index, in a workflow that it starts if none is open.
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn, self._emit_event, self._show_text)
        self.client_tool: ClientToolRequest | None = None
        """What `call_client_tool` has asked for."""
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue(_MOST_WAITING)
        self._news: Callable[[], None] | None = None
        self._end_round: Callable[[], None] | None = None
        self._closed = False

    async def task(self, key: str, task: Task) -> None:
        """Show a task in the open workflow, or how it stands by now.

        Args:
            key: Which task it is, among those that were shown so since the workflow began.
            task: Not to be changed afterwards.
        """
        await self.show(lambda output: output.put_task(key, task))

    async def end_workflow(self, summary: WorkflowSummary | None = None, *, expanded: bool = False) -> None:
        """End the open workflow; a visible item ends it as well. Without a summary it is how long it took."""
        await self.show(lambda output: output.end_workflow(summary, expanded=expanded))

    def end_turn(self) -> None:
        """Leave it at what is shown once this round of tools is over: the model says nothing more."""
        super().end_turn()
        if self._end_round is not None:
            self._end_round()

    def call_client_tool(self, name: str, **arguments: Any) -> None:
        """Call a function of the user's page: this round of tools ends the turn, the output begins the next.

        Raises:
            ValueError: One is called already: a turn can wait for one.
        """
        if self.client_tool is not None:
            raise ValueError(
                f"{self.client_tool.name} is called already, and a turn can wait for one call only"
            )
        self.client_tool = ClientToolRequest(name, arguments)
        self.end_turn()

    async def _emit_event(self, event: ThreadStreamEvent) -> None:
        await self.show(lambda output: output.show(event))

    async def _show_text(self, text: str) -> None:
        await self.task("step", CustomTask(content=text))

    async def show(self, showing: Showing) -> None:
        """Show what depends on what was shown before.

        Raises:
            RuntimeError: The run is over.
        """
        if self._closed:
            raise RuntimeError("the run is over: nothing more can be shown in its turn")
        shown = asyncio.get_running_loop().create_future()
        await self._waiting.put(Waiting(showing, shown))
        if self._news is not None:
            self._news()
            await shown

    def open(self, news: Callable[[], None], *, end_round: Callable[[], None]) -> None:
        """Begin to read what is shown (for `stream_events`, like all that follows).

        Args:
            news: Called when something waits.
            end_round: Ends the run after the tools that run now.
        """
        self._news, self._end_round = news, end_round
        news()
        if self.ends_turn:
            end_round()

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be shown."""
        return not self._waiting.empty()

    def next_waiting(self) -> Waiting:
        """What is to be shown next; there must be something."""
        return self._waiting.get_nowait()

    def close(self) -> None:
        """Nothing will be shown any more; whoever still waits is let go."""
        self._closed = True
        while self.has_waiting:
            self.next_waiting().shown.cancel()
