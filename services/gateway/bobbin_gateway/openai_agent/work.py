"""What a model does besides speaking, as steps: thoughts, calls of our tools, tools of the provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import hosted_tools
from bobbin_gateway.openai_agent.calls import Calls, OpenCall
from bobbin_gateway.openai_agent.growing import GrowingSteps, GrowingText
from bobbin_gateway.steps import Steps, StepsState
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import ThreadItem
from bobbin_protocol.tasks import CustomTask, Task, ThoughtTask, WorkflowSummary

Titles: TypeAlias = Callable[[str], str | None]
"""What the user sees of a call of one of our tools, by its name; None: nothing."""


class WorkState(Struct, frozen=True, array_like=True):
    """What `Work.restored` needs beside the items."""

    round: int = 0
    steps: StepsState | None = None
    thoughts: list[GrowingText] = []
    code: list[GrowingText] = []
    calls: list[OpenCall] = []
    call_ids: list[str] = []


class Work:
    """The steps of one turn, and the calls of its current round.

    Things are told apart by where the provider has them in its output (``output_index``).

    Attributes:
        steps: The open workflow. Tools of ours show there how their calls go, by the ids of these.
        calls: What the model asks of our tools in this round.
    """

    __slots__ = ("_code", "_round", "_thoughts", "_titles", "calls", "steps")

    def __init__(self, turn: Turn, titles: Titles, steps: Steps | None = None) -> None:
        self.steps = steps or Steps(turn)
        self.calls = Calls(turn)
        self._titles = titles
        self._round = 0
        self._thoughts = GrowingSteps(self.steps, _thought, _thought_text, begin=self.steps.think)
        self._code = GrowingSteps(self.steps, hosted_tools.writing_code, hosted_tools.written_code)

    @classmethod
    def restored(cls, turn: Turn, titles: Titles, state: WorkState, items: Sequence[ThreadItem]) -> Work:
        """The work as it stood when `state` was taken and the turn had made these items.

        Raises:
            LookupError: They do not belong together.
        """
        work = cls(turn, titles, Steps.restored(turn, state.steps, items))
        work._round = state.round
        work._thoughts.restore(state.thoughts)
        work._code.restore(state.code)
        work.calls.restore(state.calls, state.call_ids)
        return work

    def state(self) -> WorkState:
        """What `restored` needs."""
        return WorkState(
            round=self._round,
            steps=self.steps.state(),
            thoughts=self._thoughts.state(),
            code=self._code.state(),
            calls=self.calls.state(),
            call_ids=self.calls.used,
        )

    def next_round(self) -> None:
        """Forget what was open in the round, but for the steps."""
        self._round += 1
        self._thoughts.forget()
        self._code.forget()
        self.calls.next_round()

    # Thoughts

    def think(self, output_index: int, part: str = "", text: str = "") -> list[ThreadStreamEvent]:
        """Show that the model thinks, and, as far as it says so, what; `part` tells its thoughts apart."""
        if not text:
            return self.steps.think()
        return self._thoughts.add(self._key(output_index, part), text)

    def settle_thought(self, output_index: int, part: str, text: str) -> list[ThreadStreamEvent]:
        """Show all of a thought, which the provider states as a whole."""
        return self._thoughts.settle(self._key(output_index, part), text) if text else []

    def end_thoughts(self, output_index: int) -> None:
        """Nothing more is thought there."""
        self._thoughts.forget(self._key(output_index))

    # Tools of the provider

    def write_code(self, output_index: int, text: str) -> list[ThreadStreamEvent]:
        """Show code that the model writes for a tool of the provider's."""
        return self._code.add(self._key(output_index), text) if text else []

    def run_code(self, output_index: int, code: str) -> list[ThreadStreamEvent]:
        """Show that the code is written, and runs."""
        item = {"type": "code_interpreter_call", "code": code}
        return self.show_hosted(output_index, item, done=False) if code else []

    def show_hosted(
        self, output_index: int, item: Mapping[str, Any], *, done: bool
    ) -> list[ThreadStreamEvent]:
        """Show a tool that the provider runs, by the item that tells how it began or ended."""
        events = self.show_heard()
        key = self._key(output_index)
        if done and item.get("type") == "code_interpreter_call" and not item.get("code"):
            item = {**item, "code": self._code.text(key)}
        task = hosted_tools.task_of(item, done=done)
        if done:
            self._code.forget(key)
        return events + self.steps.put(key, task) if task else events

    # Calls of our tools

    def call(
        self, place: int, *, call_id: str = "", name: str = "", arguments: str = ""
    ) -> list[ThreadStreamEvent]:
        """Add to a call, which begins with its first piece. It is shown as soon as it has a name."""
        call = self.calls.at(place, call_id)
        if arguments:
            call.arguments.append(arguments)
        if not name:
            return []
        call.name += name
        return self._show_call(call)

    def settle_call(
        self, place: int, *, call_id: str = "", name: str = "", arguments: str = ""
    ) -> list[ThreadStreamEvent]:
        """Take a call as the provider states it as a whole; what it leaves out stays as it was."""
        call = self.calls.at(place, call_id)
        if arguments:
            call.arguments = [arguments]
        if not name or name == call.name:
            return []
        call.name = name
        return self._show_call(call)

    def _show_call(self, call: OpenCall) -> list[ThreadStreamEvent]:
        title = self._titles(call.name)
        if title is None:
            return []
        task = CustomTask(title=title, status_indicator="loading")
        return self.show_heard() + self.steps.put(call.call_id, task)

    # The workflow

    def show_heard(self) -> list[ThreadStreamEvent]:
        """Show what was held back of texts that grow."""
        return self._thoughts.show_all() + self._code.show_all()

    def fold(self) -> list[ThreadStreamEvent]:
        """Close the workflow, for something else to be shown, unless tools of ours still run."""
        tasks = map(self.steps.task, self.calls.used)
        if any(task is not None and task.status_indicator == "loading" for task in tasks):
            return self.show_heard()
        return self.close()

    def close(
        self, summary: WorkflowSummary | None = None, *, expanded: bool = False
    ) -> list[ThreadStreamEvent]:
        """Close the workflow, as `Steps.close` does."""
        events = self.show_heard() + self.steps.close(summary, expanded=expanded)
        self._thoughts.move_on()
        self._code.move_on()
        return events

    def _key(self, output_index: int, part: str = "") -> str:
        return f"{self._round}.{output_index}.{part}"


def _thought(text: str) -> ThoughtTask:
    return ThoughtTask(content=text)


def _thought_text(task: Task) -> str:
    return task.content if isinstance(task, ThoughtTask) else ""
