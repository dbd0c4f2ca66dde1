"""The model server as its clients meet it: the real openai package and plain HTTP against a real process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import openai as errors
import pytest
from openai import AsyncOpenAI

from tests.conftest import RECORDINGS
from tests.model import ModelServer
from tests.recordings import ALL, Recording

Stream = Callable[..., AsyncIterator[str]]
PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions"}


async def _responses(client: AsyncOpenAI, model: str, text: str) -> AsyncIterator[str]:
    async with await client.responses.create(model=model, input=text, stream=True) as stream:
        async for event in stream:
            if event.type in {"response.output_text.delta", "response.refusal.delta"}:
                yield event.delta


async def _chat(client: AsyncOpenAI, model: str, text: str) -> AsyncIterator[str]:
    messages: Any = [{"role": "user", "content": text}]
    async with await client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
        async for chunk in stream:
            delta = chunk.choices[0].delta
            if said := delta.content or delta.refusal:
                yield said


@pytest.fixture(params=[_responses, _chat], ids=["responses", "chat"])
def deltas(request: pytest.FixtureRequest) -> Stream:
    """The deltas of a streamed answer, by the openai package's own typed stream, in each dialect."""
    return request.param


async def _until_it_breaks(deltas: AsyncIterator[str]) -> tuple[list[str], Exception]:
    said: list[str] = []
    try:
        async for delta in deltas:
            said.append(delta)  # noqa: PERF401 - extend() would lose them when it breaks
    except (errors.OpenAIError, httpx.HTTPError, ValueError) as error:
        return said, error
    except Exception as error:
        if type(error).__module__.startswith("httpx"):
            return said, error
        raise
    raise AssertionError(f"the stream ended well: {said}")


async def test_a_scripted_answer_streams(openai: AsyncOpenAI, deltas: Stream) -> None:
    """Each delta of the script arrives as one delta."""
    said = [delta async for delta in deltas(openai, "script:text=Grüße, 🧵 thread&size=4", "Hi")]
    assert said == ["Grüß", "e, 🧵", " thr", "ead"]


@pytest.mark.parametrize(
    "model", ["script:", "script:delay_ms=1&size=3", "script:refusal=1&first_ms=5", "demo", "gpt"]
)
async def test_say_is_obeyed(openai: AsyncOpenAI, deltas: Stream, model: str) -> None:
    """A test can choose the answer in the message, whatever the model."""
    assert "".join([delta async for delta in deltas(openai, model, "say:As you wish.\n")]) == "As you wish.\n"


async def test_the_demo_remembers(openai: AsyncOpenAI) -> None:
    """The answer to a second message recalls the first."""
    history: Any = [
        {"role": "user", "content": "I am Ada"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Who am I?"},
    ]
    answer = await openai.responses.create(model="demo", input=history)
    assert "“I am Ada”" in answer.output_text
    completion = await openai.chat.completions.create(model="demo", messages=history)
    assert completion.choices[0].message.content == answer.output_text


async def test_usage_is_told(openai: AsyncOpenAI) -> None:
    """Input and output tokens come at the end of a stream, and with a whole answer."""
    async with await openai.responses.create(model="script:deltas=9", input="x" * 400, stream=True) as stream:
        last = [event async for event in stream][-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None
    assert (last.response.usage.input_tokens, last.response.usage.output_tokens) == (101, 9)
    completion = await openai.chat.completions.create(
        model="script:deltas=9", messages=[{"role": "user", "content": "x" * 400}]
    )
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (101, 9)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (404, errors.NotFoundError),
        (429, errors.RateLimitError),
        (503, errors.InternalServerError),
    ],
)
async def test_a_status_is_an_error_of_the_package(
    openai: AsyncOpenAI, deltas: Stream, status: int, kind: type[errors.APIStatusError]
) -> None:
    """With the code of the error and Retry-After as scripted."""
    model = f"script:status={status}&retry_after=3&code=insufficient_quota"
    said, error = await _until_it_breaks(deltas(openai, model, "Hi"))
    assert said == []
    assert isinstance(error, kind)
    assert error.code == "insufficient_quota"
    assert error.response.headers["retry-after"] == "3"


async def test_failing_first_is_overcome_by_the_packages_retries(
    openai: AsyncOpenAI, model_server: ModelServer, deltas: Stream
) -> None:
    """The same request fails twice and then succeeds; another one starts anew."""
    text = f"say:{uuid4()}"
    model = "script:fail_first=2&status=429&retry_after=0.01"
    patient = openai.with_options(max_retries=2)
    assert "".join([delta async for delta in deltas(patient, model, text)]) == text.removeprefix("say:")
    assert len(model_server.received(text)) == 3
    _, error = await _until_it_breaks(deltas(openai, model, f"{uuid4()}"))
    assert isinstance(error, errors.RateLimitError)


async def test_an_error_in_the_stream_comes_after_what_was_said(openai: AsyncOpenAI, deltas: Stream) -> None:
    """The package raises what the error object says."""
    model = "script:text=abcdef&size=1&error_after=3&code=server_error"
    said, error = await _until_it_breaks(deltas(openai, model, "Hi"))
    assert said == ["a", "b", "c"]
    assert isinstance(error, errors.APIError)
    assert "had an error" in error.message


@pytest.mark.parametrize("pace", ["", "&delay_ms=1", "&per_write=1"])
async def test_a_cut_loses_nothing_that_was_sent(openai: AsyncOpenAI, deltas: Stream, pace: str) -> None:
    """Everything before the cut arrives, then the connection breaks in mid-body."""
    said, error = await _until_it_breaks(deltas(openai, f"script:text=abcdef&size=1&cut_after=4{pace}", "Hi"))
    assert said == ["a", "b", "c", "d"]
    assert "incomplete chunked read" in f"{error!r} {error.__cause__!r}"


async def test_a_stall_keeps_silent_until_the_client_leaves(
    openai: AsyncOpenAI, model_server: ModelServer, deltas: Stream
) -> None:
    """The package's timeout ends it, and the server notices that the client has gone."""
    text = f"{uuid4()}"
    hasty = openai.with_options(timeout=2)
    said, error = await _until_it_breaks(deltas(hasty, "script:text=abcd&size=1&stall_after=2", text))
    assert said == ["a", "b"]
    assert "Timeout" in type(error).__name__
    await _outcome(model_server, text, "disconnected")


async def _outcome(model_server: ModelServer, text: str, expected: str) -> None:
    async with asyncio.timeout(5):
        while [one["outcome"] for one in model_server.received(text)] != [expected]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_leaving_early_is_noticed_in_a_slow_stream(
    openai: AsyncOpenAI, model_server: ModelServer, deltas: Stream
) -> None:
    """A test can see whether a cancelled turn stopped its model."""
    text = f"{uuid4()}"
    stream = deltas(openai, "script:delay_ms=50&deltas=1000", text)
    await anext(stream)
    assert [one["outcome"] for one in model_server.received(text)] == ["open"]
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator, which has it
    await _outcome(model_server, text, "disconnected")


async def test_garbage_is_an_event_that_is_no_json(openai: AsyncOpenAI, deltas: Stream) -> None:
    """The delta in whose place it stands is lost, those before it are not."""
    said, error = await _until_it_breaks(deltas(openai, "script:text=abc&size=1&garbage=2", "Hi"))
    assert said == ["a"]
    assert isinstance(error, ValueError)


async def _raw(model_server: ModelServer, dialect: str, model: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=model_server.url) as client:
        return await client.post(PATHS[dialect], json={"model": model, "stream": True, **body})


@pytest.mark.parametrize("dialect", PATHS)
async def test_bodies_that_are_no_stream(model_server: ModelServer, dialect: str) -> None:
    """A login page in place of the API, and a stream without any event."""
    page = await _raw(model_server, dialect, "script:not_sse=1")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    empty = await _raw(model_server, dialect, "script:empty=1")
    assert (empty.status_code, empty.content) == (200, b"")
    assert empty.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("dialect", PATHS)
async def test_delays_are_kept(model_server: ModelServer, dialect: str) -> None:
    """Head, first delta and the others come no earlier than asked."""
    model = "script:deltas=3&head_ms=60&first_ms=50&delay_ms=40"
    start = time.perf_counter()
    times: list[float] = []
    async with (
        httpx.AsyncClient(base_url=model_server.url) as client,
        client.stream("POST", PATHS[dialect], json={"model": model, "stream": True}) as response,
    ):
        times.append(time.perf_counter() - start)
        times.extend([time.perf_counter() - start async for _ in response.aiter_raw()])
    # A busy machine may see one late and the next in time, so each is measured from the start.
    for seen, due in zip(times, (0.06, 0.06, 0.11, 0.15, 0.19), strict=True):
        assert seen >= due


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/responses", b"{", 400, "Bad request body"),
        ("POST", "/v1/responses", b"\xff", 400, "Bad request body"),
        ("POST", "/v1/chat/completions", b'{"messages":[]}', 400, "model"),
        ("POST", "/v1/responses", b'{"model":"script:delta=3","input":"x"}', 400, "delta"),
        ("POST", "/v1/responses", b'{"model":"recording:none","input":"x"}', 404, "none"),
        ("POST", "/v1/responses", b'{"model":"recording:../INDEX","input":"x"}', 404, "INDEX"),
        ("GET", "/v1/responses", b"", 404, "Unknown request"),
        ("POST", "/v1/embeddings", b"{}", 404, "embeddings"),
        ("GET", "/requests?since=x", b"", 400, "since"),
    ],
)
async def test_a_bad_request_is_answered_clearly(
    model_server: ModelServer, method: str, path: str, body: bytes, status: int, message: str
) -> None:
    """With the API's error body, naming what is wrong."""
    async with httpx.AsyncClient(base_url=model_server.url) as client:
        answer = await client.request(method, path, content=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


async def test_models_are_listed(openai: AsyncOpenAI, recordings: object) -> None:
    """The demo, and each recording."""
    names = [model.id async for model in openai.models.list()]
    assert names == ["demo", *sorted(f"recording:{recording}" for recording in ALL)]


async def test_what_was_sent_can_be_asked(
    openai: AsyncOpenAI, model_server: ModelServer, deltas: Stream
) -> None:
    """The body as it came, its endpoint, its key and how it ended."""
    text = f"{uuid4()}"
    [delta async for delta in deltas(openai, "script:", text)]
    (received,) = model_server.received(text)
    assert received["path"] in PATHS.values()
    assert received["authorization"] == "Bearer sk-test"
    assert received["body"]["stream"] is True
    assert received["outcome"] == "complete"


def test_every_recording_of_the_index_is_known(recordings: object) -> None:
    """The folder, its INDEX.md and our table name the same files."""
    index = (RECORDINGS / "INDEX.md").read_text()
    named = {line.split("`")[1] for line in index.splitlines() if line.startswith("| `")}
    assert (
        named == {file.name for file in RECORDINGS.glob("*.sse")} == {f"{recording}.sse" for recording in ALL}
    )


@pytest.mark.parametrize("query", ["", "?chunk=997&delay_ms=0.1"])
@pytest.mark.parametrize("recording", ALL, ids=str)
async def test_recordings_are_replayed_byte_by_byte(
    model_server: ModelServer, recordings: object, recording: Recording, query: str
) -> None:
    """However it is cut, the body is the recorded one."""
    answer = await _raw(model_server, recording.dialect, f"recording:{recording}{query}")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == recording.data
