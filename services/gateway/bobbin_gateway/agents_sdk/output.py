"""What a run of the SDK says and does, as events; free of I/O."""

from __future__ import annotations

from agents import StreamEvent
from agents.items import RunItem, ToolCallOutputItem, TResponseStreamEvent
from msgspec.structs import replace

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.responses_reader import ResponsesReader
from bobbin_gateway.tools.memory import ToolExchange, remembered
from bobbin_gateway.tools.tool import ToolCall, ToolResult
from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import (
    ClientToolCallItem,
    EndOfTurnItem,
    HiddenContextItem,
    SDKHiddenContextItem,
)
from bobbin_protocol.tasks import Task, WorkflowSummary

_NO_PLACE = (ClientToolCallItem, EndOfTurnItem, HiddenContextItem, SDKHiddenContextItem)
"""Items that take no place below the open workflow."""
_MAX_RESULT = 20_000
"""Characters of a tool's result that later turns know."""


class RunOutput:
    """The output of one run, over all its rounds: an `Answer` that the SDK's events are read into.

    The SDK passes on what the model's stream holds, so it is read like the stream itself.
    """

    def __init__(self, turn: Turn, *, show_tools: bool = True) -> None:
        self.answer = Answer(turn, _readable if show_tools else _nothing)
        self._turn = turn
        self._reader = ResponsesReader(self.answer)
        self._call_ids: dict[str, str] = {}
        """Our id of each call that runs, by the provider's, which may come again in a later round."""
        self._refusing = (0, 0)
        """Where the model refuses: the place of the message, and of its part."""
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []

    def read(self, event: StreamEvent) -> list[ThreadStreamEvent]:
        """What an event of the run shows.

        Raises:
            AgentError: The model failed, or had nothing for the user.
        """
        if event.type == "raw_response_event":
            return self._read_response(event.data)
        return self._read_item(event.item) if event.type == "run_item_stream_event" else []

    def show(self, event: ThreadStreamEvent) -> list[ThreadStreamEvent]:
        """What a tool shows. The workflow ends before a visible item, unless calls run."""
        self.answer.acted = True
        if isinstance(event, ThreadItemAddedEvent | ThreadItemDoneEvent) and not isinstance(
            event.item, _NO_PLACE
        ):
            return [*self.answer.work.fold(), event]
        return [event]

    def put_task(self, key: str, task: Task) -> list[ThreadStreamEvent]:
        """Show a tool's own task."""
        self.answer.acted = True
        return self.answer.work.show_heard() + self.answer.steps.put(f"own {key}", task)

    def end_workflow(
        self, summary: WorkflowSummary | None = None, *, expanded: bool = False
    ) -> list[ThreadStreamEvent]:
        """End the open workflow."""
        return self.answer.work.close(summary, expanded=expanded)

    def end_call(self, call_id: str) -> list[ThreadStreamEvent]:
        """Show the call of a tool as done, by the provider's id of it."""
        key = self._call_ids.get(call_id, "")
        task = self.answer.steps.task(key)
        return self.answer.steps.put(key, replace(task, status_indicator="complete")) if task else []

    def finish(self) -> list[ThreadStreamEvent]:
        """End what is open, and remember what tools did: the run is over."""
        return self._remember() + self.answer.break_off()

    def refuse(self, refusal: str) -> list[ThreadStreamEvent]:
        """End with a refusal: the SDK may have raised it before it was read to its end, or at all."""
        place, part = self._refusing
        events: list[ThreadStreamEvent] = []
        if self.answer.is_open(place) or not self.answer.said_something:
            events = self.answer.settle(place, part, refusal) + self.answer.close(place)
        return events + self.finish()

    def _read_response(self, event: TResponseStreamEvent) -> list[ThreadStreamEvent]:
        events: list[ThreadStreamEvent] = []
        if self.answer.over:
            events = self._remember()
            self.answer.next_round()
        if event.type == "response.output_text.delta":
            return events + self.answer.say(event.output_index, event.content_index, event.delta)
        if event.type == "response.refusal.delta":
            self._refusing = (event.output_index, event.content_index)
        events += self._reader.read(event.to_json(indent=None, warnings=False).encode())
        if event.type == "response.output_item.done" and event.item.type == "function_call":
            self._note_call(event.output_index, event.item.call_id)
        return events + self._end_round() if self.answer.over else events

    def _note_call(self, place: int, call_id: str) -> None:
        """Keep our id of a call, since its output will come with the provider's."""
        self._call_ids[call_id] = self.answer.work.calls.at(place).call_id

    def _end_round(self) -> list[ThreadStreamEvent]:
        self._calls, self._results = self.answer.calls, []
        return self.answer.finish()

    def _read_item(self, item: RunItem) -> list[ThreadStreamEvent]:
        if item.type not in {"tool_call_output_item", "handoff_output_item"}:
            return []
        raw: object = item.raw_item
        call_id: object = raw.get("call_id") if isinstance(raw, dict) else None
        if not isinstance(call_id, str):
            return []
        if isinstance(item, ToolCallOutputItem) and call_id in self._call_ids:
            output = str(item.output)
            if len(output) > _MAX_RESULT:
                output = f"{output[:_MAX_RESULT]}\n[cut off here: {len(output)} characters]"
            self._results.append(ToolResult(call_id=self._call_ids[call_id], output=output))
        return self.end_call(call_id)

    def _remember(self) -> list[ThreadStreamEvent]:
        """The calls of the round that have a result, so that later turns know of them."""
        known = {result.call_id for result in self._results}
        calls = [call for call in self._calls if call.call_id in known]
        exchange = ToolExchange(calls=calls, results=self._results)
        self._calls, self._results, self._call_ids = [], [], {}
        return [ThreadItemDoneEvent(item=remembered(self._turn, exchange))] if calls else []


def _readable(name: str) -> str | None:
    """A tool's name in words: ``get_weather`` is "Get weather"."""
    return name.replace("_", " ").replace("-", " ").strip().capitalize() or name


def _nothing(name: str) -> None:
    del name
