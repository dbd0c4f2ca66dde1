"""What comes between two questions to a model: its calls run, and their results go into the next question."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from bobbin_gateway.agent import AgentError, Turn
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.prompt import Message, Prompt
from bobbin_gateway.tools.memory import ToolExchange, remembered
from bobbin_gateway.tools.running import Limits, RunningCalls
from bobbin_gateway.tools.tool import ClientTool, Tool, ToolCall, ToolResult
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import AssistantMessageItem, ClientToolCallItem

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Acting:
    """The rounds of one turn.

    Attributes:
        next: What the model is to be asked next; None: the turn is at its end.
    """

    __slots__ = ("_limits", "_rounds_left", "_said", "_tools", "_turn", "next")

    def __init__(
        self, turn: Turn, tools: Mapping[str, Tool | ClientTool], limits: Limits, most_rounds: int
    ) -> None:
        """Begin before the first question.

        Args:
            turn: Whose calls these are.
            tools: What the model may call.
            limits: What a call may take.
            most_rounds: How often the model may call; after that it has to say its last word.
        """
        self.next: Prompt | None = None
        self._turn = turn
        self._tools = tools
        self._limits = limits
        self._rounds_left = most_rounds
        self._said: list[str] = []

    def note(self, events: Sequence[ThreadStreamEvent]) -> None:
        """Take note of what the model has said in this round: it belongs to its calls."""
        for event in events:
            if isinstance(event, ThreadItemDoneEvent) and isinstance(event.item, AssistantMessageItem):
                self._said += [part.text for part in event.item.content if part.text]

    async def run(self, answer: Answer, prompt: Prompt) -> AsyncGenerator[ThreadStreamEvent]:
        """Run the calls that the answer to this question asks for, if any, and see what comes next.

        A model that calls tools though it was offered none is not asked again.

        Raises:
            AgentError: The model calls though it must not.
        """
        self.next = None
        calls = answer.calls
        if not calls:
            return
        if not prompt.may_call:
            raise AgentError("The assistant did not come to an end with its tools.", allow_retry=True)
        pending, refused = self._for_the_page(calls)
        own = [call for call in calls if not isinstance(self._tools.get(call.name), ClientTool)]
        running = RunningCalls(own, self._tools, self._turn, answer.steps, self._limits)
        async with aclosing(running.events()) as events:
            async for event in events:
                yield event
        exchange = ToolExchange([*own, *refused], [*running.results, *refused.values()])
        if exchange.calls and self._tools:
            yield ThreadItemDoneEvent(item=remembered(self._turn, exchange))
        if pending is not None or running.ends_turn or not self._tools:
            for event in answer.steps.close():
                yield event
            if pending is not None:
                yield ThreadItemDoneEvent(item=pending)
            return
        self._rounds_left -= 1
        self.next = replace(
            prompt,
            entries=[*prompt.entries, *self._spoken(), exchange],
            tool_choice=None,
            may_call=self._rounds_left > 0,
        )
        answer.next_round()

    def _spoken(self) -> list[Message]:
        said, self._said = self._said, []
        return [Message("assistant", "\n\n".join(said))] if said else []

    def _for_the_page(
        self, calls: Sequence[ToolCall]
    ) -> tuple[ClientToolCallItem | None, dict[ToolCall, ToolResult]]:
        """The call that the user's page is asked for, and what becomes of others: it takes one at a time."""
        pending: ClientToolCallItem | None = None
        refused: dict[ToolCall, ToolResult] = {}
        for call in calls:
            if not isinstance(self._tools.get(call.name), ClientTool):
                continue
            try:
                arguments = _decode_object(call.arguments.strip() or "{}")
            except (msgspec.MsgspecError, UnicodeError) as error:
                refused[call] = _refused(call, f"The arguments do not fit: {error}")
                continue
            if pending is not None:
                refused[call] = _refused(call, "One call of the page at a time: call it again afterwards")
                continue
            pending = ClientToolCallItem(
                id=self._turn.new_id("tool_call"),
                thread_id=self._turn.thread.id,
                created_at=datetime.now(UTC),
                call_id=call.call_id,
                name=call.name,
                arguments=arguments,
            )
        return pending, refused


def _refused(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, output=f"Error: {text}", failed=True)
