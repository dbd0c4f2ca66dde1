"""The built-in agent against a model server, through the openai package and HTTP."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from bobbin_gateway.agent import Agent, AgentError, TitlingAgent, Turn
from bobbin_gateway.assistant import Assistant
from bobbin_gateway.openai_agent.agent import OpenAIAgent, open_agent
from bobbin_gateway.settings import Settings
from bobbin_protocol.events import NoticeEvent
from tests.model import ModelServer
from tests.processes import free_port
from tests.recordings import ALL, Recording
from tests.unit.gateway.openai_agent.raw_server import piece, raw_server, start
from tests.unit.gateway.openai_agent.samples import Heard, assistant, chunk, completed, delta, sse, turn, user

both_dialects = pytest.mark.parametrize("dialect", ["responses", "chat"])


def agent_for(url: str, dialect: str, **settings: Any) -> AbstractAsyncContextManager[OpenAIAgent]:
    values = {
        "store_token": "x" * 16,
        "openai_api_key": "sk-test",
        "openai_base_url": url,
        "model_api": dialect,
    }
    return open_agent(msgspec.convert({**values, **settings}, Settings), Assistant())


async def ask(agent: OpenAIAgent, turn: Turn) -> Heard:
    heard = Heard()
    try:
        async for event in agent.respond(turn):
            heard.events.append(event)
    except AgentError as failure:
        heard.failure = failure
    return heard


async def hear(server: ModelServer, dialect: str, model: str, **settings: Any) -> Heard:
    """Ask the model server's model."""
    async with agent_for(server.base_url, dialect, **settings) as agent:
        return await ask(agent, turn(model=model))


def unique(script: str) -> tuple[str, str]:
    """The script as a model, and a word by which its requests are found."""
    seed = str(uuid4().int % 10**9)
    return f"script:{script}&seed={seed}", seed


def test_it_is_an_agent_and_can_name_threads(agent: OpenAIAgent) -> None:
    plugged: Agent = agent
    naming: TitlingAgent = agent
    assert plugged is naming


@pytest.fixture
async def agent() -> AsyncGenerator[OpenAIAgent]:
    async with agent_for("http://127.0.0.1:1/v1", "responses") as agent:
        yield agent


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("recording", ALL, ids=str)
async def test_every_recorded_stream_reaches_the_user_as_sent(
    model_server: ModelServer, recording: Recording
) -> None:
    asked = turn(model=f"recording:{recording.name}")
    async with agent_for(model_server.base_url, recording.dialect) as agent:
        heard = await ask(agent, asked)
    expected = recording.expected
    assert expected.is_text(heard.deltas)
    assert (heard.failure is not None) == (expected.end == "error")
    notices = [event for event in heard.events if isinstance(event, NoticeEvent)]
    asked_for_approval = recording.name == "responses-openai-mcp-approval-request"
    assert len(notices) == (expected.end == "incomplete" or asked_for_approval)
    assert (asked.usage and asked.usage.input_tokens) == expected.input_tokens


@both_dialects
async def test_an_answer_streams_as_it_is_made(model_server: ModelServer, dialect: str) -> None:
    async with agent_for(model_server.base_url, dialect) as agent:
        times = [time.monotonic() async for _ in agent.respond(turn(model="script:deltas=20&delay_ms=60"))]
    assert times[-1] - times[0] > 0.1


@both_dialects
async def test_the_model_sees_instructions_and_history(model_server: ModelServer, dialect: str) -> None:
    chosen, seed = unique("text=ok")
    history = turn(user("My name is Ada"), assistant("Hello Ada"), user("What is my name?"), model=chosen)
    async with agent_for(model_server.base_url, dialect, instructions="Be brief.") as agent:
        assert (await ask(agent, history)).texts == [["ok"]]
    [request] = model_server.received(seed)
    body = request["body"]
    assert request["authorization"] == "Bearer sk-test"
    assert body["model"] == chosen
    conversation = [
        {"role": "user", "content": "My name is Ada"},
        {"role": "assistant", "content": "Hello Ada"},
        {"role": "user", "content": "What is my name?"},
    ]
    if dialect == "responses":
        assert (body["instructions"], body["input"]) == ("Be brief.", conversation)
    else:
        assert body["messages"] == [{"role": "system", "content": "Be brief."}, *conversation]


@both_dialects
async def test_history_is_cut_to_the_budget_of_the_settings(model_server: ModelServer, dialect: str) -> None:
    chosen, seed = unique("text=ok")
    history = turn(user("long ago " * 100), assistant("indeed"), user("now"), model=chosen)
    async with agent_for(model_server.base_url, dialect, history_tokens=100) as agent:
        await ask(agent, history)
    [request] = model_server.received(seed)
    assert "long ago" not in str(request["body"])
    assert "now" in str(request["body"])


@both_dialects
async def test_the_model_of_the_settings_answers_when_the_client_chose_none(
    model_server: ModelServer, dialect: str
) -> None:
    async with agent_for(model_server.base_url, dialect, model="script:text=from%20the%20settings") as agent:
        assert (await ask(agent, turn())).texts == [["from the settings"]]


@both_dialects
@pytest.mark.parametrize(
    ("script", "said", "words", "allow_retry"),
    [
        ("status=400&code=context_length_exceeded", "", "too long", False),
        ("status=400", "", "could not use the request", False),
        ("status=401", "", "key", False),
        ("status=404", "", "not available", False),
        ("status=429&retry_after=30", "", "in 30 seconds", True),
        ("status=429&code=insufficient_quota", "", "credit", False),
        ("status=503&retry_after=30", "", "has a problem", True),
        ("not_sse=1", "", "can't be read", True),
        ("empty=1", "", "can't be read", True),
        ("garbage=3&text=abcdef&size=1", "ab", "can't be read", True),
        ("cut_after=3&text=abcdef&size=1", "abc", "broke off", True),
        ("error_after=3&text=abcdef&size=1", "abc", "has a problem", True),
        ("error_after=3&text=abcdef&size=1&error_shape=flat", "abc", "has a problem", True),
        ("error_after=3&text=abcdef&size=1&code=rate_limit_exceeded", "abc", "busy", True),
        ("error_after=3&text=abcdef&size=1&code=tool_use_failed", "abc", "stopped with an error", True),
        ("text=", "", "gave no answer", True),
    ],
)
async def test_a_failure_is_told_clearly_and_keeps_what_was_said(
    model_server: ModelServer, dialect: str, script: str, said: str, words: str, allow_retry: bool
) -> None:
    heard = await hear(model_server, dialect, f"script:{script}")
    assert heard.failure is not None
    assert words in heard.failure.message
    assert heard.failure.allow_retry is allow_retry
    assert heard.failure.detail
    assert heard.deltas == said
    assert heard.texts == ([[said]] if said else [])


@both_dialects
async def test_a_service_that_falls_silent_is_given_up(model_server: ModelServer, dialect: str) -> None:
    limits = {"first_token_timeout_s": 0.01, "silence_timeout_s": 0.01}
    heard = await hear(model_server, dialect, "script:stall_after=3&text=abcdef&size=1", **limits)
    assert heard.deltas == "abc"
    assert heard.failure is not None
    assert "in time" in heard.failure.message
    assert heard.failure.allow_retry


@both_dialects
async def test_a_service_that_is_not_there_is_named_so(dialect: str) -> None:
    async with agent_for(f"http://127.0.0.1:{free_port()}/v1", dialect) as agent:
        heard = await ask(agent, turn())
    assert heard.failure is not None
    assert "can't be reached" in heard.failure.message
    assert heard.failure.allow_retry


@both_dialects
@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_a_shortened_answer_is_kept_with_a_notice(
    model_server: ModelServer, dialect: str, reason: str
) -> None:
    heard = await hear(model_server, dialect, f"script:text=Hello&incomplete={reason}")
    assert heard.failure is None
    assert heard.texts == [["Hello"]]
    assert heard.kinds[-2:] == ["thread.item.done", "notice"]


@both_dialects
async def test_a_refusal_is_shown(model_server: ModelServer, dialect: str) -> None:
    assert (await hear(model_server, dialect, "script:text=I%20will%20not&refusal=1")).texts == [
        ["I will not"]
    ]


@both_dialects
async def test_a_passing_failure_before_the_answer_is_not_seen_by_the_user(
    model_server: ModelServer, dialect: str
) -> None:
    chosen, seed = unique("text=ok&fail_first=1&status=500")
    assert (await hear(model_server, dialect, chosen)).texts == [["ok"]]
    assert len(model_server.received(seed)) == 2


@both_dialects
@pytest.mark.parametrize("script", ["status=429&retry_after=30", "status=429&code=insufficient_quota"])
async def test_no_time_is_lost_on_retries_that_are_in_vain(
    model_server: ModelServer, dialect: str, script: str
) -> None:
    chosen, seed = unique(script)
    assert (await hear(model_server, dialect, chosen)).failure is not None
    assert len(model_server.received(seed)) == 1


@both_dialects
async def test_a_cancelled_turn_leaves_the_provider_at_once(model_server: ModelServer, dialect: str) -> None:
    chosen, seed = unique("delay_ms=20&deltas=10000")
    async with agent_for(model_server.base_url, dialect) as agent:
        speaking = asyncio.Event()

        async def listen() -> None:
            async for _ in agent.respond(turn(model=chosen)):
                speaking.set()

        task = asyncio.create_task(listen())
        await speaking.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left(model_server, seed)


@both_dialects
async def test_a_turn_that_is_no_longer_listened_to_leaves_the_provider_at_once(
    model_server: ModelServer, dialect: str
) -> None:
    chosen, seed = unique("delay_ms=20&deltas=10000")
    async with agent_for(model_server.base_url, dialect) as agent:
        async with aclosing(agent.respond(turn(model=chosen))) as events:
            await anext(events)
        await left(model_server, seed)


async def left(model_server: ModelServer, seed: str) -> None:
    """Wait until the model server has seen its client go."""
    async with asyncio.timeout(15):
        while [request["outcome"] for request in model_server.received(seed)] != ["disconnected"]:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.01)


@both_dialects
async def test_a_thread_gets_a_title_of_one_line(model_server: ModelServer, dialect: str) -> None:
    said = 'say:**"A title\nof two lines"**'
    async with agent_for(model_server.base_url, dialect, title_model="script:size=4") as agent:
        assert await agent.title(turn(user(said))) == "A title of two lines"


@both_dialects
async def test_a_title_is_short(model_server: ModelServer, dialect: str) -> None:
    async with agent_for(model_server.base_url, dialect, title_model="script:size=4") as agent:
        title = await agent.title(turn(user("say:" + "word " * 100)))
    assert title is not None
    assert 40 < len(title) <= 60


@both_dialects
async def test_a_failing_title_model_is_told_as_such(model_server: ModelServer, dialect: str) -> None:
    async with agent_for(model_server.base_url, dialect, title_model="script:status=500") as agent:
        with pytest.raises(AgentError, match="has a problem"):
            await agent.title(turn())


async def test_without_a_title_model_there_is_no_title(agent: OpenAIAgent) -> None:
    assert await agent.title(turn()) is None


def whole(dialect: str, text: str) -> bytes:
    """A good stream, its end included."""
    if dialect == "responses":
        return sse(delta(text), completed())
    return sse(chunk(text), chunk(None, "stop"), "[DONE]")


@both_dialects
async def test_a_connection_serves_one_turn_after_the_other(dialect: str) -> None:
    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start() + piece(whole(dialect, "Hello")))
        await writer.drain()
        await asyncio.sleep(0.05)  # the body's end comes on its own, as from many servers
        writer.write(piece(b""))

    async with raw_server(reply) as server, agent_for(server.url, dialect) as agent:
        for _ in range(3):
            assert (await ask(agent, turn())).texts == [["Hello"]]
    assert (len(server.requests), server.connections) == (3, 1)


@both_dialects
async def test_a_server_that_never_ends_its_stream_does_not_hold_the_turn(dialect: str) -> None:
    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start() + piece(whole(dialect, "Hello")))

    async with raw_server(reply) as server, agent_for(server.url, dialect) as agent:
        started = time.monotonic()
        heard = await ask(agent, turn())
    assert heard.failure is None
    assert heard.texts == [["Hello"]]
    assert time.monotonic() - started < 5


@both_dialects
async def test_a_compressed_stream_is_understood(dialect: str) -> None:
    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        body = gzip.compress(whole(dialect, "Hello"))
        writer.write(start("200 OK", "content-encoding: gzip") + piece(body) + piece(b""))

    async with raw_server(reply) as server, agent_for(server.url, dialect) as agent:
        assert (await ask(agent, turn())).texts == [["Hello"]]


async def test_a_server_that_knows_no_stream_options_is_asked_without_them_from_then_on() -> None:
    async def reply(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if "stream_options" in body:
            refusal = b'{"error": {"message": "extra fields not permitted: stream_options"}}'
            writer.write(start("422 Unprocessable Content") + piece(refusal) + piece(b""))
        else:
            writer.write(start() + piece(whole("chat", "Hello")) + piece(b""))

    async with raw_server(reply) as server, agent_for(server.url, "chat") as agent:
        assert (await ask(agent, turn())).texts == [["Hello"]]
        assert (await ask(agent, turn())).texts == [["Hello"]]
    assert ["stream_options" in body for body in server.requests] == [True, False, False]


@both_dialects
async def test_a_garbled_http_answer_is_a_failure_and_not_a_crash(dialect: str) -> None:
    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(b"ICY 200 OK\r\n\r\n" + b"\0" * 100)
        writer.close()

    async with raw_server(reply) as server, agent_for(server.url, dialect) as agent:
        heard = await ask(agent, turn())
    assert heard.failure is not None
    assert heard.failure.allow_retry
