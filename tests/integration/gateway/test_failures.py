"""Failures inside a stream: one clear error event each, and what was said so far is kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client import Client, answers_of, deltas_of, errors_of, kinds_of, message, text_of, thread_id_of
from tests.model import model_service
from tests.processes import Service, running
from tests.stack import Stack, gateway_service, store_service, temporary_data

SECRETS = ("Traceback", "127.0.0.1", "asyncpg", "aiohttp", "httpx")


@pytest.mark.parametrize(
    ("model", "allow_retry", "said"),
    [
        ("script:status=401", False, False),
        ("script:status=404", False, False),
        ("script:status=429&retry_after=20", True, False),
        ("script:status=500", True, False),
        ("script:status=503", True, False),
        ("script:cut_after=5", True, True),
        ("script:error_after=5", True, True),
        ("script:not_sse=1", True, False),
        ("script:garbage=1", True, False),
    ],
)
async def test_a_failing_model_is_one_clear_error(
    client: Client, model: str, allow_retry: bool, said: bool
) -> None:
    events = await client.create("Hello", model=model)
    errors = errors_of(events)
    assert [error["allow_retry"] for error in errors] == [allow_retry]
    assert errors[0]["message"]
    assert not any(secret in errors[0]["message"] for secret in SECRETS)

    items = (await client.call("items.list", thread_id=thread_id_of(events), order="asc"))["data"]
    assert (len(items) == 2) is said is bool(deltas_of(events))
    if said:
        assert text_of(items[1]) == deltas_of(events)


async def test_after_a_failure_the_thread_goes_on(client: Client) -> None:
    thread_id = thread_id_of(await client.create("Hello", model="script:status=500"))
    events = await client.say(thread_id, "Again", model="script:text=here")
    assert answers_of(events) == ["here"]


async def test_a_model_that_fails_once_is_asked_again_unseen(client: Client) -> None:
    events = await client.create("Please try twice", model="script:status=500&fail_first=1&text=here")
    assert errors_of(events) == []
    assert answers_of(events) == ["here"]


async def test_a_cut_answer_says_so(client: Client) -> None:
    events = await client.create("Hello", model="script:incomplete=max_output_tokens")
    assert errors_of(events) == []
    assert answers_of(events)
    assert "notice" in kinds_of(events)


async def test_silence_has_an_end(stack: Stack) -> None:
    settings = {"FIRST_TOKEN_TIMEOUT_S": "3", "SILENCE_TIMEOUT_S": "3", "TURN_TIMEOUT_S": "6"}
    said = {
        "script:first_ms=60000": False,  # never begins
        "script:stall_after=5": True,  # begins, then falls silent
        "script:deltas=3000&delay_ms=10": True,  # never ends
    }
    with running(gateway_service(stack.store, stack.model, **settings)) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            chat = Client(http)
            await chat.create("Hello")  # the first turn of a process takes it longer
            answers = await asyncio.gather(*(chat.create("Hello", model=model) for model in said))
            for events, has_text in zip(answers, said.values(), strict=True):
                assert [error["allow_retry"] for error in errors_of(events)] == [True]
                assert bool(deltas_of(events)) is has_text
                thread = await chat.call("threads.get_by_id", thread_id=thread_id_of(events))
                stored = [text_of(i) for i in thread["items"]["data"] if i["type"] == "assistant_message"]
                assert "".join(stored) == deltas_of(events)


async def test_an_answer_without_end_is_stopped_by_its_size(stack: Stack) -> None:
    with running(gateway_service(stack.store, stack.model, MAX_OUTPUT_BYTES="20000")) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            events = await Client(http).create("Hello", model="script:deltas=5000")
    assert [error["allow_retry"] for error in errors_of(events)] == [True]


@pytest.mark.timeout(120)
async def test_while_the_store_is_away_nobody_is_left_without_an_answer() -> None:
    """Begin fails clearly; a running answer waits, is stored when the store is back, and nothing is lost."""
    with temporary_data() as data, running(model_service()) as model:
        store = store_service(data).start()
        gateway = gateway_service(store, model, STORE_TIMEOUT_S="2", BEGIN_RETRY_S="3")
        with running(gateway):
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as http:
                chat = Client(http)
                seen: list[dict[str, Any]] = []
                body = message("Hello", model="script:deltas=40&delay_ms=25")
                async with chat.stream("threads.create", input=body) as events:
                    seen.append(await anext(events))
                    store.kill()
                    refused = await chat.create("Anyone?")
                    assert [error["allow_retry"] for error in errors_of(refused)] == [True]
                    listed = await chat.post({"type": "threads.list", "params": {}})
                    assert listed.status_code == 503
                    assert listed.headers["retry-after"]
                    async with asyncio.timeout(20):  # the lease lapses
                        while (await http.get("/health/ready")).status_code != 503:  # noqa: ASYNC110
                            await asyncio.sleep(0.05)
                    assert (await http.get("/health/live")).status_code == 200
                    back = asyncio.create_task(asyncio.to_thread(store.start))
                    seen += [event async for event in events]
                await back
                assert errors_of(seen) == []
                items = (await chat.call("items.list", thread_id=thread_id_of(seen), order="asc"))["data"]
                assert text_of(items[1]) == deltas_of(seen) == answers_of(seen)[0]
        store.stop()


async def test_an_answer_that_cannot_be_saved_says_so() -> None:
    with temporary_data() as data, running(model_service()) as model:
        store = store_service(data).start()
        with running(gateway_service(store, model, STORE_TIMEOUT_S="5", STORE_RETRY_S="0.5")) as gateway:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as http:
                body = message("Hello", model="script:deltas=10&first_ms=3000")
                async with Client(http).stream("threads.create", input=body) as events:
                    seen = [await anext(events)]
                    store.kill()
                    seen += [event async for event in events]
        assert [error["allow_retry"] for error in errors_of(seen)] == [True]
        assert "saved" in errors_of(seen)[0]["message"]


async def test_a_store_that_hangs_is_given_up_on() -> None:
    with temporary_data() as data, running(model_service()) as model, running(store_service(data)) as store:
        with running(gateway_service(store, model, STORE_TIMEOUT_S="0.5", BEGIN_RETRY_S="3")) as gateway:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as http:
                os.killpg(store.pid, signal.SIGSTOP)
                try:
                    events = await Client(http).create("Hello")
                finally:
                    os.killpg(store.pid, signal.SIGCONT)
        assert [error["allow_retry"] for error in errors_of(events)] == [True]


@contextmanager
def all_of_it(data: Path) -> Iterator[tuple[Service, Service]]:
    with (
        running(store_service(data)) as store,
        running(model_service()) as model,
        running(gateway_service(store, model)) as gateway,
    ):
        yield model, gateway


async def test_everything_is_there_after_a_restart_of_everything() -> None:
    """The system before this one lost answers on reload."""
    with temporary_data() as data:
        with all_of_it(data) as (_, gateway):
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                events = await Client(http).create("Remember the milk")
        with all_of_it(data) as (model, gateway):
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                chat = Client(http)
                thread_id = (await chat.call("threads.list"))["data"][0]["id"]
                assert thread_id == thread_id_of(events)
                items = (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]
                assert [text_of(item) for item in items] == ["Remember the milk", deltas_of(events)]
                thread = await chat.call("threads.get_by_id", thread_id=thread_id)
                assert thread["items"]["data"] == items
                await chat.say(thread_id, "And now?")
                requests = (await http.get(f"{model.url}/requests")).text
                assert "Remember the milk" in requests
