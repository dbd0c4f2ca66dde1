"""Answers in the background, against the model server through the openai package: cut, resumed, stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from bobbin_gateway.agent import AgentError, ContinuingAgent, Turn
from bobbin_gateway.assistant import Assistant
from bobbin_gateway.openai_agent import background
from bobbin_gateway.openai_agent.agent import OpenAIAgent, open_agent
from bobbin_gateway.settings import Settings
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import AssistantMessageItem, ThreadItem
from tests.model import ModelServer
from tests.unit.gateway.openai_agent.raw_server import piece, raw_server, start
from tests.unit.gateway.openai_agent.samples import Heard, delta, sse, turn

SCRIPTS = [
    "text=abcdef&size=1&delay_ms=2",
    "text=abcdef&size=1",
    "text=abcdef&size=1&parts=3&delay_ms=2",
    "text=abcdefghijkl&size=1&per_write=4&delay_ms=2",
    "text=no&size=1&refusal=1&delay_ms=2",
    "text=abcd&size=1&incomplete=max_output_tokens&delay_ms=2",
]


def agent_for(url: str, **settings: Any) -> AbstractAsyncContextManager[OpenAIAgent]:
    values = {
        "store_token": "x" * 16,
        "openai_api_key": "sk-test",
        "openai_base_url": url,
        "background": True,
    }
    return open_agent(msgspec.convert({**values, **settings}, Settings), Assistant())


@pytest.fixture
async def agent(model_server: ModelServer) -> AsyncGenerator[OpenAIAgent]:
    async with agent_for(model_server.base_url) as agent:
        yield agent


class Journal:
    """What is safe of a turn when its gateway dies: as the engine's journal, up to the last checkpoint."""

    def __init__(self) -> None:
        self.events: list[ThreadStreamEvent] = []
        self.checkpoint: bytes | None = None
        self._marked = 0

    def mark(self, turn: Turn) -> None:
        if turn.checkpoint is not self.checkpoint:
            self.checkpoint, self._marked = turn.checkpoint, len(self.events)

    @property
    def safe(self) -> list[ThreadStreamEvent]:
        return self.events[: self._marked]

    @property
    def items(self) -> list[ThreadItem]:
        fold = ItemFold()
        for event in self.safe:
            fold.apply(event)
        return fold.items()


async def read(
    events: AsyncGenerator[ThreadStreamEvent], turn: Turn, most: int, *, linger_s: float = 0
) -> Journal:
    """Take in so many events, then hand the turn over: right then, or when it has to wait for the next."""
    journal = Journal()
    async with aclosing(events):
        while len(journal.events) < most and (event := await anext(events, None)) is not None:
            journal.mark(turn)
            journal.events.append(event)
        while linger_s:
            waiting = asyncio.ensure_future(anext(events, None))
            done, _ = await asyncio.wait({waiting}, timeout=linger_s)
            journal.mark(turn)
            if done and (event := waiting.result()) is not None:
                journal.events.append(event)
            else:
                turn.handed_over = True
                waiting.cancel()
                await asyncio.wait({waiting})
                break
        turn.handed_over = True
    return journal


async def hear(events: AsyncGenerator[ThreadStreamEvent]) -> Heard:
    heard = Heard()
    try:
        async for event in events:
            heard.events.append(event)
    except AgentError as failure:
        heard.failure = failure
    return heard


def successor() -> Turn:
    """The turn as the gateway sees it that goes on with it."""
    return msgspec.structs.replace(turn(), history=[])


async def take_over(server: ModelServer, journal: Journal, turn: Turn) -> Heard:
    """Go on in another agent; gives the whole of what a client hears."""
    assert journal.checkpoint is not None
    async with agent_for(server.base_url) as other:
        rest = await hear(other.resume(turn, journal.items, journal.checkpoint))
    rest.events = journal.safe + rest.events
    return rest


def assert_same(heard: Heard, whole: Heard) -> None:
    """The same answer, in one message per message."""
    assert heard.failure is None
    assert (heard.kinds, heard.deltas, heard.texts) == (whole.kinds, whole.deltas, whole.texts)
    ids = {item.id for item in heard.items if isinstance(item, AssistantMessageItem)}
    assert len(ids) == len(whole.texts)


def test_it_can_continue_turns(agent: OpenAIAgent) -> None:
    assert isinstance(agent, ContinuingAgent)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_an_answer_cut_anywhere_is_continued_elsewhere(
    agent: OpenAIAgent, model_server: ModelServer, script: str
) -> None:
    """After each of its events; the client hears the uninterrupted answer, usage included."""
    asked = turn(model=f"script:{script}")
    whole = await hear(agent.respond(asked))
    assert whole.failure is None
    assert asked.usage is not None
    for most in range(1, len(whole.events) + 1):
        first = turn(model=f"script:{script}")
        journal = await read(agent.respond(first), first, most)
        resumed = successor()
        assert_same(await take_over(model_server, journal, resumed), whole)
        assert resumed.usage == asked.usage


async def test_an_answer_cut_while_it_waits_loses_nothing_that_was_said(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    """All that was heard is behind the checkpoint while the model thinks of the next word."""
    script = "script:text=abcd&size=1&delay_ms=400&first_ms=400"
    whole = await hear(agent.respond(turn(model=script)))

    async def cut(most: int) -> None:
        first = turn(model=script)
        journal = await read(agent.respond(first), first, most, linger_s=0.1)
        assert len(journal.safe) == len(journal.events)
        assert_same(await take_over(model_server, journal, successor()), whole)

    await asyncio.gather(*(cut(most) for most in range(1, len(whole.events) - 3)))


async def test_an_answer_can_be_handed_on_many_times(agent: OpenAIAgent) -> None:
    """Each time at a random point."""
    script, dice = "script:deltas=30&size=2&parts=3&delay_ms=1&per_write=2&seed=7", random.Random(3)
    whole = await hear(agent.respond(turn(model=script)))
    for _ in range(20):
        heard, moves = Journal(), 0
        running = turn(model=script)
        events = agent.respond(running)
        while True:
            part = await read(events, running, dice.randrange(1, 20))
            heard.events = heard.safe + part.events
            heard.checkpoint, heard._marked = part.checkpoint, len(heard.safe) + part._marked
            if part.checkpoint is None or len(part.events) == 0 or heard_all(heard, whole):
                break
            running = successor()
            assert heard.checkpoint is not None
            events, moves = agent.resume(running, heard.items, heard.checkpoint), moves + 1
        assert moves
        final = Heard()
        final.events = heard.events
        assert_same(final, whole)


def heard_all(journal: Journal, whole: Heard) -> bool:
    return len(journal.events) >= len(whole.events)


async def test_the_provider_is_asked_to_keep_the_answer(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    chosen, seed = unique("text=ok")
    await hear(agent.respond(turn(model=chosen)))
    [request] = model_server.received(seed)
    assert request["body"]["background"] is True
    assert request["body"].get("store", True) is True


async def test_without_the_setting_nothing_is_kept_or_marked(model_server: ModelServer) -> None:
    chosen, seed = unique("text=ok")
    asked = turn(model=chosen)
    async with agent_for(model_server.base_url, background=False) as agent:
        await hear(agent.respond(asked))
    [request] = model_server.received(seed)
    assert (request["body"]["store"], "background" in request["body"]) == (False, False)
    assert asked.checkpoint is None


def unique(script: str) -> tuple[str, str]:
    """The script as a model, and a word by which its requests are found."""
    seed = str(uuid4().int % 10**9)
    return f"script:{script}&seed={seed}", seed


async def status(server: ModelServer, seed: str) -> str:
    """Of the response that was begun by the request with this word; "" if that has not arrived yet."""
    async with httpx.AsyncClient() as client:
        listing = (await client.get(f"{server.url}/requests", params={"contains": seed})).json()["requests"]
        response_ids = [one["response_id"] for one in listing if one["response_id"]]
        if not response_ids:
            return ""
        [response_id] = response_ids
        return (await client.get(f"{server.base_url}/responses/{response_id}")).json()["status"]


async def arrived(server: ModelServer, seed: str) -> None:
    """Wait until the request with this word has begun a response."""
    async with asyncio.timeout(15):
        while not await status(server, seed):  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.01)


async def becomes(server: ModelServer, seed: str, expected: str) -> None:
    async with asyncio.timeout(15):
        while (await status(server, seed)) != expected:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.01)


async def test_a_cut_connection_is_made_again(
    agent: OpenAIAgent, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again, as long as there is something new each time; the user notices nothing."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.001)
    whole = await hear(agent.respond(turn(model="script:text=abcdefghijklmnopqrst&size=1")))
    chosen, seed = unique("text=abcdefghijklmnopqrst&size=1&cut_after=2")
    assert_same(await hear(agent.respond(turn(model=chosen))), whole)
    paths = about_it(model_server, seed)
    assert len(paths) == 9
    assert all("starting_after=" in path for path in paths)


def about_it(server: ModelServer, seed: str) -> list[str]:
    """The requests about the response that was begun by the request with this word."""
    [response_id] = [one["response_id"] for one in server.received(seed) if one["response_id"]]
    return [f"{one['method']} {one['path']}" for one in server.received(response_id)]


async def test_a_complete_answer_needs_no_further_requests(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    chosen, seed = unique("text=ok")
    await hear(agent.respond(turn(model=chosen)))
    await agent.close()
    assert about_it(model_server, seed) == []


async def test_a_connection_that_brings_nothing_new_is_given_up(
    agent: OpenAIAgent, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few times; the provider is told, and the user may try again."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.001)
    chosen, seed = unique("text=abc&size=1&cut_after=0&delay_ms=5000")
    heard = await hear(agent.respond(turn(model=chosen)))
    assert heard.failure is not None
    assert heard.failure.allow_retry
    assert "broke off" in heard.failure.message
    await becomes(model_server, seed, "cancelled")
    assert len(about_it(model_server, seed)) < 20


@pytest.mark.parametrize(
    "script", ["delay_ms=20&deltas=1000", "first_ms=10000", "head_ms=3000&delay_ms=1000"]
)
async def test_a_cancelled_turn_stops_the_provider(
    agent: OpenAIAgent, model_server: ModelServer, script: str
) -> None:
    """Whether it speaks, thinks, or has not even answered; the user need not wait for that."""
    chosen, seed = unique(script)
    task = asyncio.create_task(hear(agent.respond(turn(model=chosen))))
    await arrived(model_server, seed)
    await asyncio.sleep(0.15)
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.cancelled()
    await becomes(model_server, seed, "cancelled")


async def test_a_turn_that_is_no_longer_listened_to_stops_the_provider(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    chosen, seed = unique("delay_ms=20&deltas=1000")
    async with aclosing(agent.respond(turn(model=chosen))) as events:
        await anext(events)
    await becomes(model_server, seed, "cancelled")


async def test_an_agent_that_is_closed_has_told_the_provider(model_server: ModelServer) -> None:
    chosen, seed = unique("delay_ms=20&deltas=1000")
    async with (
        agent_for(model_server.base_url) as agent,
        aclosing(agent.respond(turn(model=chosen))) as events,
    ):
        await anext(events)
    assert await status(model_server, seed) == "cancelled"


async def test_a_turn_that_is_handed_over_goes_on_at_the_provider(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    chosen, seed = unique("text=abcdef&size=1&delay_ms=10")
    running = turn(model=chosen)
    await read(agent.respond(running), running, 3)
    await becomes(model_server, seed, "completed")


async def test_a_turn_handed_over_before_anyone_could_find_its_answer_stops_the_provider(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    """Else it would be made, and paid, for nobody."""
    chosen, seed = unique("head_ms=2000&delay_ms=1000")
    running = turn(model=chosen)
    task = asyncio.create_task(hear(agent.respond(running)))
    await arrived(model_server, seed)
    running.handed_over = True
    task.cancel()
    await becomes(model_server, seed, "cancelled")


async def test_an_answer_that_cannot_be_read_stops_the_provider(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    chosen, seed = unique("text=abcdefghijklmnopqrstuvwxyz&size=1&delay_ms=100&garbage=3")
    heard = await hear(agent.respond(turn(model=chosen)))
    assert heard.failure is not None
    assert "can't be read" in heard.failure.message
    assert heard.deltas == "ab"
    await becomes(model_server, seed, "cancelled")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("status=401", "key"),
        ("status=429&code=insufficient_quota", "credit"),
        ("not_sse=1", "can't be read"),
        ("empty=1", "can't be read"),
        ("text=", "gave no answer"),
        ("error_after=3&text=abcdef&size=1", "has a problem"),
    ],
)
async def test_a_failure_is_told_as_in_the_foreground(agent: OpenAIAgent, script: str, words: str) -> None:
    heard = await hear(agent.respond(turn(model=f"script:{script}")))
    assert heard.failure is not None
    assert words in heard.failure.message


async def begun(agent: OpenAIAgent, script: str) -> Journal:
    """A turn whose gateway has died after some words."""
    running = turn(model=script)
    journal = await read(agent.respond(running), running, 4)
    assert journal.checkpoint is not None
    return journal


async def about(server: ModelServer, seed: str, method: str, action: str = "") -> None:
    """A request about the response that was begun by the request with this word."""
    [response_id] = [one["response_id"] for one in server.received(seed) if one["response_id"]]
    async with httpx.AsyncClient(base_url=server.base_url) as client:
        (await client.request(method, f"/responses/{response_id}{action}")).raise_for_status()


async def test_an_answer_that_the_provider_has_forgotten_is_over(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    """The user may try again, and what was said stays."""
    chosen, seed = unique("deltas=1000&delay_ms=20")
    journal = await begun(agent, chosen)
    await about(model_server, seed, "DELETE")
    heard = await take_over(model_server, journal, successor())
    assert heard.failure is not None
    assert heard.failure.allow_retry
    assert "404" in heard.failure.detail
    assert heard.events == journal.safe
    assert not any("cancel" in request for request in about_it(model_server, seed))


async def test_an_answer_that_someone_else_cancelled_is_over(
    agent: OpenAIAgent, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.001)
    chosen, seed = unique("deltas=1000&delay_ms=20")
    journal = await begun(agent, chosen)
    await about(model_server, seed, "POST", "/cancel")
    heard = await take_over(model_server, journal, successor())
    assert heard.failure is not None
    assert heard.failure.allow_retry


async def test_a_resumed_answer_can_be_stopped(agent: OpenAIAgent, model_server: ModelServer) -> None:
    chosen, seed = unique("deltas=1000&delay_ms=20")
    journal = await begun(agent, chosen)
    assert journal.checkpoint is not None
    async with aclosing(agent.resume(successor(), journal.items, journal.checkpoint)) as events:
        await anext(events)
    await becomes(model_server, seed, "cancelled")


async def test_an_answer_that_nobody_continues_can_be_stopped(
    agent: OpenAIAgent, model_server: ModelServer
) -> None:
    """Again and again, and after its end: that is no error."""
    chosen, seed = unique("deltas=1000&delay_ms=20")
    journal = await begun(agent, chosen)
    assert journal.checkpoint is not None
    await agent.abandon(journal.checkpoint)
    assert await status(model_server, seed) == "cancelled"
    await agent.abandon(journal.checkpoint)
    await about(model_server, seed, "DELETE")
    await agent.abandon(journal.checkpoint)


@pytest.mark.parametrize("checkpoint", [b"", b"\xff", msgspec.msgpack.encode([1, 2, 3])])
async def test_a_strange_checkpoint_is_a_failure_and_not_a_crash(
    agent: OpenAIAgent, checkpoint: bytes
) -> None:
    heard = await hear(agent.resume(successor(), [], checkpoint))
    assert heard.failure is not None
    assert heard.failure.allow_retry
    await agent.abandon(checkpoint)


async def test_a_checkpoint_without_its_items_is_a_failure(agent: OpenAIAgent) -> None:
    journal = await begun(agent, "script:deltas=5")
    assert journal.checkpoint is not None
    heard = await hear(agent.resume(successor(), [], journal.checkpoint))
    assert heard.failure is not None
    assert "checkpoint" in heard.failure.detail


async def test_a_provider_without_background_mode_answers_as_before() -> None:
    """It has no use for a cancel, and cannot be asked again for what a cut connection lost."""
    created = {"type": "response.created", "sequence_number": 0}
    response = {"response": {"id": "resp_1", "background": False, "status": "in_progress"}}

    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start() + piece(sse(created | response, delta("Hello"))))
        await writer.drain()
        writer.close()

    asked = turn()
    async with raw_server(reply) as server, agent_for(server.url) as agent:
        heard = await hear(agent.respond(asked))
    assert heard.deltas == "Hello"
    assert heard.failure is not None
    assert "broke off" in heard.failure.message
    assert asked.checkpoint is None
    assert len(server.requests) == 1


def numbered(number: int, **event: Any) -> dict[str, Any]:
    return {**event, "sequence_number": number}


CREATED = {"type": "response.created", "response": {"id": "resp_1", "background": True, "status": "queued"}}
END = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


async def test_a_provider_that_begins_anew_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know `starting_after`, and sends everything again on each connection."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.001)
    events = [
        numbered(0, **CREATED),
        numbered(1, **delta("a")),
        numbered(2, **delta("b")),
        numbered(3, **END),
    ]

    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if body:
            writer.write(start() + piece(sse(*events[:2])))
            await writer.drain()
            writer.close()
        else:
            writer.write(start() + piece(sse(*events)) + piece(b""))

    async with raw_server(reply) as server, agent_for(server.url) as agent:
        heard = await hear(agent.respond(turn()))
    assert heard.failure is None
    assert heard.texts == [["ab"]]


async def test_an_answer_too_old_to_be_streamed_is_over() -> None:
    """OpenAI streams a response for some minutes only; asking again is of no use."""
    refusal = b'{"error": {"message": "This response can no longer be streamed because it is too old"}}'

    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if body:
            writer.write(start() + piece(sse(numbered(0, **CREATED), numbered(1, **delta("a")))))
            await writer.drain()
            writer.close()
        else:
            writer.write(start("400 Bad Request") + piece(refusal) + piece(b""))

    async with raw_server(reply) as server, agent_for(server.url) as agent:
        heard = await hear(agent.respond(turn()))
    assert heard.failure is not None
    assert heard.failure.allow_retry
    assert "too old" in heard.failure.detail
    assert [head.split()[0] for head in server.heads] == ["POST", "GET"]


async def test_an_answer_without_a_way_back_is_stopped_even_when_handed_over() -> None:
    """Its events have no numbers, so nobody could go on with it."""

    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if body:
            writer.write(start() + piece(sse(CREATED, delta("a"))))
        else:
            writer.write(start() + piece(b"{}") + piece(b""))

    running = turn()
    async with raw_server(reply) as server, agent_for(server.url) as agent:
        await read(agent.respond(running), running, 1)
        await agent.close()
    assert running.handed_over
    assert [head.split()[1] for head in server.heads] == ["/v1/responses", "/v1/responses/resp_1/cancel"]
