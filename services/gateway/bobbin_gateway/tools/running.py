"""Running the calls that a model asks for: side by side, each within its time, each shown as a step.

Whatever a tool does, the model gets a result for each of its calls, and the turn goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic

import structlog
from msgspec import Struct
from msgspec.structs import replace

from bobbin_gateway import metrics
from bobbin_gateway.agent import Turn
from bobbin_gateway.markdown import as_text
from bobbin_gateway.steps import Steps
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.tool import ClientTool, Tool, ToolCall, ToolError, ToolResult
from bobbin_gateway.tools.toolbox import shown_title
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.tasks import CustomTask
from bobbin_telemetry import tracing

log = structlog.get_logger()

_WAITING = 64
"""Events that tools may be ahead of the turn."""
_PATIENCE_S = 2.0
"""How long a call that was told to stop may still tidy up. It is anyone's code, and may not listen."""
_STEP_SIZE = 4000
"""Characters of a step; more of them nobody reads."""


class Limits(Struct, frozen=True):
    """What a call may take."""

    timeout_s: float
    """Longest run, in seconds, of a tool that sets no time of its own."""
    output_bytes: int
    """Most bytes of a result; the rest is cut off."""


class RunningCalls:
    """The calls of one round."""

    def __init__(
        self,
        calls: Sequence[ToolCall],
        tools: Mapping[str, Tool | ClientTool],
        turn: Turn,
        steps: Steps,
        limits: Limits,
    ) -> None:
        self._calls = calls
        self._tools = tools
        self._turn = turn
        self._steps = steps
        self._limits = limits
        self._events: asyncio.Queue[ThreadStreamEvent | None] = asyncio.Queue(_WAITING)
        self._results: dict[str, ToolResult] = {}
        self.ends_turn = False
        """Whether a tool wants the turn to end with this round."""

    @property
    def results(self) -> list[ToolResult]:
        """Of each call, in the order asked, once `events` is at its end."""
        return [self._results[call.call_id] for call in self._calls]

    async def events(self) -> AsyncGenerator[ThreadStreamEvent]:
        """Run the calls to their ends; what they show, as they show it. Leaving early stops them."""
        for call in self._calls:
            for event in self._steps.put(call.call_id, self._task(call, None)):
                yield event
        running = [
            asyncio.create_task(self._run(call), name=f"{call.name} {call.call_id}") for call in self._calls
        ]
        ending = asyncio.create_task(self._end_after(running))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            for task in running:
                task.result()
        finally:
            for task in (*running, ending):
                task.cancel()
            await asyncio.wait([*running, ending], timeout=_PATIENCE_S)

    async def _end_after(self, running: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*running, return_exceptions=True)
        await self._events.put(None)

    async def _run(self, call: ToolCall) -> None:
        """Run one call within its time, and show how it went."""
        tool, began = self._tools.get(call.name), monotonic()
        context = _CallContext(self._turn, self._events, partial(self._show, call))
        if tool is None or isinstance(tool, ClientTool):
            result = _failed(call, f"There is no tool called {call.name!r}")
        else:
            timeout_s = self._limits.timeout_s if tool.timeout_s is None else tool.timeout_s
            with _span(call) as span:
                result = self._cut(await _outcome(call, tool, context, timeout_s))
                if result.failed:
                    span.fail("tool_error")
            metrics.TOOL_CALLS.labels("failed" if result.failed else "ok").inc()
            metrics.TOOL_SECONDS.observe(monotonic() - began)
        self._results[call.call_id] = result
        self.ends_turn = self.ends_turn or (context.ends_turn and not result.failed)
        if result.failed:
            name = None if tool is None else call.name  # else it may be anything that a model writes
            log.info("tool failed", turn_id=self._turn.id, tool=name, told_chars=len(result.output))
        await self._put(call, self._ended(call, result))

    def _ended(self, call: ToolCall, result: ToolResult) -> CustomTask:
        """The step of a call that is over; one that failed has no tick, and says why."""
        if result.failed:
            return replace(self._task(call, as_text(result.output)), status_indicator="none", icon="info")
        before = self._steps.task(call.call_id)
        said = before.content if isinstance(before, CustomTask) else None
        return replace(self._task(call, said), status_indicator="complete")

    async def _show(self, call: ToolCall, text: str) -> None:
        await self._put(call, self._task(call, text))

    async def _put(self, call: ToolCall, task: CustomTask) -> None:
        for event in self._steps.put(call.call_id, task):
            await self._events.put(event)

    def _task(self, call: ToolCall, text: str | None) -> CustomTask:
        title = shown_title(self._tools, call.name)
        return CustomTask(
            title=title or call.name,
            content=text[:_STEP_SIZE] if text else None,
            status_indicator="loading",
        )

    def _cut(self, result: ToolResult) -> ToolResult:
        data, most = result.output.encode(errors="replace"), self._limits.output_bytes
        if len(data) <= most:
            return result
        head = data[:most].decode(errors="ignore")
        return replace(result, output=f"{head}\n[cut off here: {len(data)} bytes, {most} are allowed]")


class _CallContext(ToolContext):
    """A context that shows nothing any more once its call is over."""

    def __init__(
        self,
        turn: Turn,
        events: asyncio.Queue[ThreadStreamEvent | None],
        show_step: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(turn, self._put, show_step)
        self._queue = events
        self._over = False

    def close(self) -> None:
        """The call is over."""
        self._over = True

    async def _put(self, event: ThreadStreamEvent) -> None:
        if self._over:
            raise ToolError("The call is over")
        await self._queue.put(event)


def _span(call: ToolCall) -> tracing.Span:
    """Of a call of a tool that there is: so its name is one of few."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.call_id,
    }
    return tracing.span(f"execute_tool {call.name}", attributes)


async def _outcome(call: ToolCall, tool: Tool, context: _CallContext, timeout_s: float) -> ToolResult:
    """Let a tool work, no longer than that; nor than its turn."""
    working = asyncio.create_task(tool.call(context, call.arguments))
    try:
        await asyncio.wait([working], timeout=timeout_s)
    finally:
        context.close()
        if not working.done():
            working.cancel()
            await asyncio.wait([working], timeout=_PATIENCE_S)
    if not working.done():
        log.error("tool does not stop", tool=call.name)
        return _failed(call, f"The tool did not answer within {timeout_s:g} seconds")
    if working.cancelled():
        return _failed(call, f"The tool was stopped after {timeout_s:g} seconds at most")
    error = working.exception()
    if error is None:
        return ToolResult(call_id=call.call_id, output=working.result())
    if isinstance(error, ToolError):
        return _failed(call, str(error))
    if isinstance(error, Exception):
        log.error("tool failed", tool=call.name, exc_info=error)
        return _failed(call, "The tool failed")
    raise error


def _failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, output=f"Error: {text}", failed=True)
