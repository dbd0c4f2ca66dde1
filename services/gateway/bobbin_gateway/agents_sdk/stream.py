"""A run of the SDK as a stream of events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import cast

from agents import ModelBehaviorError, ModelRefusalError, RunResultStreaming, StreamEvent

from bobbin_gateway.agent import Turn
from bobbin_gateway.agents_sdk import failures
from bobbin_gateway.agents_sdk.context import ChatContext, ClientToolRequest
from bobbin_gateway.agents_sdk.output import RunOutput
from bobbin_gateway.openai_agent.failures import no_answer
from bobbin_gateway.openai_agent.media import published
from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import ClientToolCallItem
from bobbin_protocol.store.turns import Usage


async def stream_events(
    turn: Turn, result: RunResultStreaming, *, show_tools: bool = True
) -> AsyncGenerator[ThreadStreamEvent]:
    """Convert a run that you began for a turn. Leaving early cancels the run, and waits until it has stopped.

    Args:
        turn: Its `usage` is set, as far as it is known.
        result: What ``Runner.run_streamed`` gave. If the run's context is a `ChatContext`, what its tools
            show is part of the stream.
        show_tools: Whether calls of tools are shown as tasks.

    Raises:
        AgentError: The model failed, a guardrail tripped, or the run went on for too long; what was shown
            before has been yielded, and after a guardrail taken back.
    """
    given: object = result.context_wrapper.context
    context = given if isinstance(given, ChatContext) else ChatContext(turn)
    output = RunOutput(turn, show_tools=show_tools)
    shown: dict[str, None] = {}
    try:
        async with aclosing(_run(result, context, output)) as batches:
            async for batch in batches:
                events = await published(batch, turn.files) if output.answer.has_images else batch
                for event in events:
                    if isinstance(event, ThreadItemAddedEvent | ThreadItemDoneEvent):
                        shown[event.item.id] = None
                    yield event
        for event in _ending(turn, result, context, output):
            yield event
    except Exception as error:  # noqa: BLE001 (it is raised again, unless it says what the stream says, too)
        for event in _aftermath(error, output, list(shown)):
            yield event
    finally:
        turn.usage = _usage(result, output)


def _aftermath(error: Exception, output: RunOutput, shown: list[str]) -> Iterator[ThreadStreamEvent]:
    """What comes when the run has raised.

    Raises:
        AgentError: The user has to be told.
        Exception: It is a bug.
    """
    if isinstance(error, failures.TRIPWIRES):
        yield from (ThreadItemRemovedEvent(item_id=item_id) for item_id in shown)
        raise failures.tripped(error) from error
    if isinstance(error, ModelRefusalError):
        yield from output.refuse(error.refusal)
        return
    yield from output.finish()
    if output.answer.cut_short is None or not isinstance(error, ModelBehaviorError):
        raise failures.from_exception(error) or error
    # The SDK takes a response that was cut short for a failure; but all of it was told, and why it ends.


async def _run(
    result: RunResultStreaming, context: ChatContext, output: RunOutput
) -> AsyncGenerator[list[ThreadStreamEvent]]:
    """What the run and its tools show, in the order in which it came to be.

    What the SDK has told comes first: it told it before its tools went on, since these wait until they are
    heard.
    """
    run = cast("AsyncGenerator[StreamEvent]", result.stream_events())
    told: deque[StreamEvent] = deque()
    news = asyncio.Event()
    context.open(news.set, end_round=partial(result.cancel, mode="after_turn"))
    listening = asyncio.create_task(_listen(run, told, news))
    try:
        while not listening.done() or told or context.has_waiting:
            await news.wait()
            news.clear()
            while told or context.has_waiting:
                yield output.read(told.popleft()) if told else context.next_waiting().show(output)
        listening.result()
    finally:
        await _stop(result, run, context, listening)


async def _listen(run: AsyncGenerator[StreamEvent], told: deque[StreamEvent], news: asyncio.Event) -> None:
    try:
        async for event in run:
            told.append(event)
            news.set()
    finally:
        news.set()


async def _stop(
    result: RunResultStreaming,
    run: AsyncGenerator[StreamEvent],
    context: ChatContext,
    listening: asyncio.Task[None],
) -> None:
    """Make sure that nothing of the run goes on: its requests are closed, its tools cancelled."""
    loop_task = result.run_loop_task
    if loop_task is not None and not loop_task.done():
        result.cancel()
    listening.cancel()
    context.close()
    await asyncio.gather(listening, return_exceptions=True)
    await run.aclose()
    if loop_task is not None:
        await asyncio.gather(loop_task, return_exceptions=True)


def _ending(
    turn: Turn, result: RunResultStreaming, context: ChatContext, output: RunOutput
) -> Iterator[ThreadStreamEvent]:
    """What comes when the run is over.

    Raises:
        AgentError: It is over for want of an approval, or without anything for the user.
    """
    yield from output.finish()
    if result.interruptions:
        raise failures.needs_approval([call.tool_name or "?" for call in result.interruptions])
    if context.client_tool is not None:
        yield ThreadItemDoneEvent(item=_client_tool_call(turn, context.client_tool))
    elif not output.answer.said_something and not output.answer.acted:
        raise no_answer(None)


def _client_tool_call(turn: Turn, request: ClientToolRequest) -> ClientToolCallItem:
    return ClientToolCallItem(
        id=turn.new_id("tool_call"),
        thread_id=turn.thread.id,
        created_at=datetime.now(UTC),
        call_id=turn.new_id("tool_call"),
        name=request.name,
        arguments=request.arguments,
    )


def _usage(result: RunResultStreaming, output: RunOutput) -> Usage | None:
    """What the run has used: the SDK counts agents within tools, too, the answer a response cut short."""
    counted = result.context_wrapper.usage
    read = output.answer.usage or Usage(input_tokens=0, output_tokens=0)
    usage = Usage(
        input_tokens=max(counted.input_tokens, read.input_tokens),
        output_tokens=max(counted.output_tokens, read.output_tokens),
    )
    return usage if usage.input_tokens or usage.output_tokens else None
