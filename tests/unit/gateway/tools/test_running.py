"""Calls run side by side, are seen while they run, and each has its result, whatever its tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bobbin_gateway import metrics
from bobbin_gateway.agent import Turn
from bobbin_gateway.markdown import as_text
from bobbin_gateway.steps import Steps
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import FunctionTool, tool
from bobbin_gateway.tools.running import Limits, RunningCalls
from bobbin_gateway.tools.tool import ToolCall, ToolError, ToolResult
from bobbin_gateway.tools.toolbox import Toolbox
from bobbin_protocol.events import (
    ClientEffectEvent,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import WidgetItem, WorkflowItem
from bobbin_protocol.tasks import CustomTask, Task
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.widgets import Card, Text

LIMITS = Limits(timeout_s=5.0, output_bytes=1000)


class Round:
    """One round of calls, as far as it got."""

    def __init__(
        self, *functions: FunctionTool, calls: list[tuple[str, str]], limits: Limits = LIMITS
    ) -> None:
        thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
        self.turn = Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)
        self.calls = [
            ToolCall(call_id=f"call_{number}", name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(calls)
        ]
        self.running = RunningCalls(
            self.calls, Toolbox(functions).tools(), self.turn, Steps(self.turn), limits
        )
        self.fold = ItemFold()
        self.events: list[ThreadStreamEvent] = []
        self._news = asyncio.Event()

    async def run(self) -> list[ToolResult]:
        async for event in self.running.events():
            self.events.append(event)
            self.fold.apply(event)
            self._news.set()
        return self.running.results

    async def until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self._news.clear()
            await self._news.wait()

    @property
    def steps(self) -> list[Task]:
        [workflow] = [item for item in self.fold.items() if isinstance(item, WorkflowItem)]
        return workflow.workflow.tasks

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@tool
async def slow(number: int) -> int:
    """Take a while."""
    await asyncio.sleep(0.3)
    return number * 2


async def test_ten_calls_run_at_once_and_all_are_seen_while_they_run() -> None:
    all_wait = asyncio.Barrier(11)

    @tool
    async def wait(number: int) -> int:
        """Wait for the others."""
        await all_wait.wait()
        return number * 2

    one = Round(wait, calls=[("wait", f'{{"number": {number}}}') for number in range(10)])
    async with asyncio.timeout(5):
        task = asyncio.create_task(one.run())
        await one.until(lambda: len(one.events) == 10)
        assert [step.status_indicator for step in one.steps] == ["loading"] * 10
        await all_wait.wait()
        results = await task
    assert [result.output for result in results] == [str(number * 2) for number in range(10)]
    assert {step.status_indicator for step in one.steps} == {"complete"}


@tool
async def broken() -> None:
    """Fail."""
    raise RuntimeError("secret internals")


@tool
async def careful() -> None:
    """Refuse."""
    raise ToolError("That list is empty")


@tool(timeout_s=0.05)
async def endless() -> None:
    """Hang."""
    await asyncio.sleep(60)


@tool(timeout_s=0.05)
async def deaf() -> str:
    """Hang, whatever it is told, for a moment."""
    end = asyncio.get_running_loop().time() + 0.3
    while (left := end - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "done after all"


@tool
async def huge() -> str:
    """Return more than anyone can read."""
    return "é" * 10_000_000


@tool
async def deserter() -> None:
    """Cancel itself."""
    raise asyncio.CancelledError


@tool
async def not_json() -> object:
    """Return what is no JSON."""
    return object()


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("broken", "{}", "Error: The tool failed"),
        ("careful", "{}", "Error: That list is empty"),
        ("endless", "{}", "Error: The tool was stopped after 0.05 seconds at most"),
        ("deserter", "{}", "Error: The tool was stopped after 5 seconds at most"),
        ("not_json", "{}", "Error: The tool failed"),
        ("slow", "{", "Error: The arguments do not fit"),
        ("slow", '{"number": "x"}', "Error: The arguments do not fit"),
        ("nobody", "{}", "Error: There is no tool called 'nobody'"),
    ],
)
async def test_a_tool_that_cannot_is_told_to_the_model_and_shown_and_harms_no_other(
    name: str, arguments: str, told: str
) -> None:
    tools = [broken, careful, endless, deserter, not_json, slow]
    one = Round(*tools, calls=[(name, arguments), ("slow", '{"number": 1}')])
    failed, fine = await one.run()
    assert failed.failed
    assert failed.output.startswith(told)
    assert "secret" not in failed.output
    assert (fine.output, fine.failed) == ("2", False)
    wrong, right = one.steps
    assert isinstance(wrong, CustomTask)
    assert (wrong.status_indicator, wrong.content) == ("none", as_text(failed.output))
    assert right.status_indicator == "complete"


async def test_a_tool_that_does_not_stop_at_once_may_still_finish() -> None:
    one = Round(deaf, calls=[("deaf", "{}")])
    [result] = await one.run()
    assert (result.output, result.failed) == ("done after all", False)


async def test_a_huge_result_is_cut_and_says_so() -> None:
    one = Round(huge, calls=[("huge", "{}")])
    [result] = await one.run()
    assert not result.failed
    assert result.output.startswith("é" * 500)
    assert result.output.endswith("[cut off here: 20000000 bytes, 1000 are allowed]")
    assert len(result.output) < 1100


async def test_what_a_tool_shows_is_shown_while_it_runs() -> None:
    going_on = asyncio.Event()

    @tool
    async def show(context: ToolContext) -> str:
        """Show everything."""
        assert (context.owner_id, context.thread.id) == ("ann", "thr_1")
        await context.progress("Reading", "bolt")
        await context.step("half way")
        await context.notice("Look", level="warning")
        await context.effect("highlight", id=3)
        await context.widget(Card(children=[Text(value="hello")]), copy_text="hello")
        await going_on.wait()
        context.end_turn()
        return "shown"

    one = Round(show, calls=[("show", "{}")])
    task = asyncio.create_task(one.run())
    await one.until(lambda: any(isinstance(item, WidgetItem) for item in one.fold.items()))
    assert one.of(ProgressUpdateEvent) == [ProgressUpdateEvent(text="Reading", icon="bolt")]
    assert one.of(NoticeEvent) == [NoticeEvent(level="warning", message="Look")]
    assert one.of(ClientEffectEvent) == [ClientEffectEvent(name="highlight", data={"id": 3})]
    assert one.steps == [CustomTask(title="Show", content="half way", status_indicator="loading")]
    going_on.set()
    [result] = await task
    assert result.output == "shown"
    assert one.running.ends_turn
    assert one.steps == [CustomTask(title="Show", content="half way", status_indicator="complete")]


async def test_no_calls_are_done_at_once() -> None:
    one = Round(slow, calls=[])
    assert await asyncio.wait_for(one.run(), 1) == []
    assert one.events == []


async def test_who_leaves_early_leaves_no_tool_running() -> None:
    ended = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    one = Round(wait, calls=[("wait", "{}")])
    events = one.running.events()
    await anext(events)
    pending = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.01)
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    await events.aclose()
    assert ended.is_set()


async def test_a_tool_that_talks_on_after_its_time_is_not_heard() -> None:
    contexts: list[ToolContext] = []

    @tool
    async def quick(context: ToolContext) -> str:
        """Keep the context."""
        contexts.append(context)
        return "ok"

    await Round(quick, calls=[("quick", "{}")]).run()
    with pytest.raises(ToolError, match="over"):
        await contexts[0].progress("still here")


async def test_a_flood_of_events_waits_for_who_takes_them_in() -> None:
    @tool
    async def flood(context: ToolContext) -> int:
        """Say much."""
        for number in range(1000):
            await context.progress(str(number))
        return 1000

    one = Round(flood, calls=[("flood", "{}")])
    [result] = await one.run()
    assert result.output == "1000"
    assert [event.text for event in one.of(ProgressUpdateEvent)] == [str(n) for n in range(1000)]


async def test_only_calls_of_tools_that_there_are_are_counted() -> None:
    def counted(outcome: str) -> float:
        return metrics.TOOL_CALLS.labels(outcome)._value.get()

    before = counted("ok"), counted("failed")
    await Round(slow, calls=[("slow", '{"number": 1}'), ("made up by a model", "{}")]).run()
    assert (counted("ok"), counted("failed")) == (before[0] + 1, before[1])
