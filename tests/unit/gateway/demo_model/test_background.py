"""Background responses of the model server, through the real openai package."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai as errors
import pytest
from openai import AsyncOpenAI

from bobbin_gateway.demo_model.background import BackgroundResponses
from bobbin_gateway.demo_model.reply import SSE, Ending, Reply
from tests.model import ModelServer, model_service
from tests.processes import running

SLOW = "script:deltas=1000&delay_ms=10"


async def read(stream: Any, most: int = 1_000_000) -> list[Any]:
    """The events of a stream up to so many; then the connection is closed."""
    events: list[Any] = []
    async with stream:
        async for event in stream:
            events.append(event)
            if len(events) == most:
                break
    return events


async def begin(openai: AsyncOpenAI, model: str, most: int = 1_000_000) -> list[Any]:
    stream = await openai.responses.create(model=model, input="Hi", background=True, stream=True)
    return await read(stream, most)


async def rest(openai: AsyncOpenAI, response_id: str, after: int) -> list[Any]:
    return await read(await openai.responses.retrieve(response_id, stream=True, starting_after=after))


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


async def test_an_answer_goes_on_without_its_reader_and_can_be_read_on(openai: AsyncOpenAI) -> None:
    """Wherever the connection is lost, the events after it come, as they stand in the whole stream."""
    whole = await begin(openai, "script:deltas=6&delay_ms=5")
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    assert [event.type for event in whole[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    for most in range(1, len(whole)):
        seen = await begin(openai, "script:deltas=6&delay_ms=5", most)
        after = await rest(openai, seen[0].response.id, seen[-1].sequence_number)
        assert text_of(seen + after) == text_of(whole)
        assert [event.type for event in seen + after] == [event.type for event in whole]


async def test_its_state_can_be_asked(openai: AsyncOpenAI) -> None:
    """In progress, then completed, with its output."""
    [created] = await begin(openai, "script:text=Hello&first_ms=1500", 1)
    assert (await openai.responses.retrieve(created.response.id)).status in {"queued", "in_progress"}
    await rest(openai, created.response.id, 0)
    state = await openai.responses.retrieve(created.response.id)
    assert (state.status, state.output_text, state.background) == ("completed", "Hello", True)


async def test_a_cancelled_answer_stops(openai: AsyncOpenAI) -> None:
    """Its readers see the stream end, and cancelling again is no error."""
    [created] = await begin(openai, SLOW, 1)
    reading = asyncio.create_task(rest(openai, created.response.id, 0))
    await asyncio.sleep(0.05)
    assert (await openai.responses.cancel(created.response.id)).status == "cancelled"
    assert 0 < len(await reading) < 1000
    assert (await openai.responses.cancel(created.response.id)).status == "cancelled"
    assert (await openai.responses.retrieve(created.response.id)).status == "cancelled"


async def test_what_has_ended_cannot_be_cancelled(openai: AsyncOpenAI) -> None:
    [created, *_] = await begin(openai, "script:text=Hello")
    with pytest.raises(errors.BadRequestError, match="Cannot cancel a completed response"):
        await openai.responses.cancel(created.response.id)


async def test_a_forgotten_response_is_not_found(openai: AsyncOpenAI) -> None:
    [created, *_] = await begin(openai, "script:text=Hello")
    await openai.responses.delete(created.response.id)
    for call in (openai.responses.retrieve, openai.responses.cancel, openai.responses.delete):
        with pytest.raises(errors.NotFoundError):
            await call(created.response.id)
    with pytest.raises(errors.NotFoundError):
        await rest(openai, created.response.id, 0)


async def test_a_foreground_response_is_not_kept(openai: AsyncOpenAI) -> None:
    response = await openai.responses.create(model="script:text=Hello", input="Hi")
    with pytest.raises(errors.NotFoundError):
        await openai.responses.retrieve(response.id)


async def test_a_response_that_must_not_be_stored_cannot_be_made_in_the_background(
    openai: AsyncOpenAI,
) -> None:
    with pytest.raises(errors.BadRequestError, match="store"):
        await openai.responses.create(model="demo", input="Hi", background=True, stream=True, store=False)


async def test_without_a_stream_it_is_polled(openai: AsyncOpenAI) -> None:
    begun = await openai.responses.create(
        model="script:text=Hello&first_ms=50", input="Hi", background=True, stream=False
    )
    assert begun.status == "queued"
    await rest(openai, begun.id, 0)
    assert (await openai.responses.retrieve(begun.id)).output_text == "Hello"


async def test_each_connection_is_cut_and_the_answer_is_not(openai: AsyncOpenAI) -> None:
    """A script's `cut_after` counts the deltas of each connection."""
    seen: list[Any] = []
    model = "script:text=abcdef&size=1&delay_ms=1&cut_after=4"
    stream = await openai.responses.create(model=model, input="Hi", background=True, stream=True)
    with pytest.raises(errors.APIConnectionError):  # noqa: PT012 - what came before it is kept
        async for event in stream:
            seen.append(event)  # noqa: PERF401 - extend() would lose them when it breaks
    assert text_of(seen) == "abcd"
    seen += await rest(openai, seen[0].response.id, seen[-1].sequence_number)
    assert text_of(seen) == "abcdef"


@pytest.mark.usefixtures("recordings")
async def test_a_recorded_background_response_can_be_read_on(openai: AsyncOpenAI) -> None:
    events = await begin(openai, "recording:responses-openai-background-queued?chunk=7", 7)
    events += await rest(openai, events[0].response.id, events[-1].sequence_number)
    assert [event.sequence_number for event in events] == list(range(17))


async def test_tests_see_what_was_asked_and_what_still_runs(
    openai: AsyncOpenAI, model_server: ModelServer
) -> None:
    """The request names its response; requests about it are found by its id."""
    [created] = await begin(openai, SLOW, 1)
    response_id = created.response.id
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{model_server.url}/requests")).json()["running"] >= 1
    stream = await openai.responses.retrieve(response_id, stream=True, starting_after=0)
    await read(stream, 1)
    await openai.responses.cancel(response_id)
    asked = [(one["method"], one["path"]) for one in model_server.received(response_id)]
    assert asked == [
        ("GET", f"/v1/responses/{response_id}?starting_after=0&stream=true"),
        ("POST", f"/v1/responses/{response_id}/cancel"),
    ]
    [begun] = [one for one in model_server.received(SLOW) if one["response_id"] == response_id]
    assert (begun["method"], begun["path"]) == ("POST", "/v1/responses")


async def test_answers_that_nobody_reads_any_more_are_not_made() -> None:
    """But for those in the background; `running` counts both kinds."""
    with running(model_service()) as service:
        base = f"{service.url}/v1"
        async with AsyncOpenAI(base_url=base, api_key="x") as openai, httpx.AsyncClient() as client:

            async def becomes(expected: int) -> None:
                async with asyncio.timeout(5):
                    while (await client.get(f"{service.url}/requests")).json()["running"] != expected:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

            await becomes(0)
            foreground = await openai.responses.create(model=SLOW, input="Hi", stream=True)
            in_background = await openai.responses.create(
                model=SLOW, input="Hi", stream=True, background=True
            )
            await becomes(2)
            await foreground.close()
            await in_background.close()
            await becomes(1)


def stalling(number: int) -> Reply:
    event = b'data: {"type":"response.created","response":{"id":"resp_%d"}}\n\n' % number
    return Reply(content_type=SSE, writes=[(0, event)], ending=Ending.STALL, background=True)


async def test_only_the_last_ones_are_kept() -> None:
    """Those before them are stopped: an endless one does not run for ever."""
    kept = BackgroundResponses(limit=3)
    responses = [kept.start(stalling(number)) for number in range(5)]
    assert [response.ended for response in responses] == [True, True, False, False, False]
    assert kept.find("resp_1") is None
    assert kept.find("resp_2") is responses[2]
    assert kept.running == 3
    for response in responses:
        kept.forget(response.id)
    assert kept.running == 0
