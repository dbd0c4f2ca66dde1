"""Another message while an answer runs, from the same gateway or another: interrupt, queue or reject."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.client import answers_of, errors_of, message, text_of
from tests.cluster import RESUMABLE, Cluster, more_gateways
from tests.turns import (
    Answer,
    add,
    ask,
    asking,
    create,
    ended,
    kinds,
    retry,
    said_by_user,
    store_of,
    stored,
    turn,
    unique,
)

FAST = "script:deltas=3"
SLOW = "script:deltas=40&delay_ms=15"
RUNS = "script:deltas=600&delay_ms=15"
"""Nine seconds: whatever is to happen meanwhile happens, also on a busy machine."""
ENDLESS = "script:deltas=2000&delay_ms=20"
LONG = "script:deltas=250&delay_ms=20"
SILENT = "script:deltas=5&first_ms=30000"
QUEUE_TIMEOUT_S = 3.0

WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])


@pytest.fixture(scope="module")
def queueing(cluster: Cluster) -> Iterator[Cluster]:
    with more_gateways(cluster, DOUBLE_TEXTING="queue", KEEPALIVE_S="0.3") as one:
        yield one


@pytest.fixture(scope="module")
def impatient(cluster: Cluster) -> Iterator[Cluster]:
    with more_gateways(cluster, DOUBLE_TEXTING="queue", QUEUE_TIMEOUT_S=str(QUEUE_TIMEOUT_S)) as one:
        yield one


@pytest.fixture(scope="module")
def rejecting(cluster: Cluster) -> Iterator[Cluster]:
    with more_gateways(cluster, DOUBLE_TEXTING="reject") as one:
        yield one


async def new_thread(http: httpx.AsyncClient) -> str:
    return (await ask(http, create(unique("Hello"), FAST))).thread_id


async def all_at_once(cluster: Cluster, thread_id: str, texts: list[str], model: str) -> list[Answer]:
    """Say these at once, on both gateways in turn, and read every answer to its end."""
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        https = [here, there]
        return await asyncio.gather(
            *(ask(https[number % 2], add(thread_id, text, model)) for number, text in enumerate(texts))
        )


async def asked_of_model(cluster: Cluster, text: str) -> list[list[str]]:
    """What the user had said, as the model was told in each request that holds the text."""
    async with httpx.AsyncClient(base_url=cluster.model.url, timeout=30) as http:
        listing = (await http.get("/requests", params={"contains": text})).json()
    return [_said(request["body"]) for request in listing["requests"]]


def _said(body: dict[str, Any]) -> list[str]:
    """Messages without an answer between them are told as one; so are notes that an answer was stopped."""
    said = [entry["content"] for entry in body["input"] if entry.get("role") == "user"]
    texts = [
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        for content in said
    ]
    pieces = [piece for text in texts for piece in text.split("\n\n")]
    return [piece for piece in pieces if not piece.startswith("[Context")]


async def check_one_after_the_other(cluster: Cluster, answers: list[Answer]) -> None:
    """No turn began before the one before it had ended."""
    records = [await turn(cluster, turn_id) for turn_id in {answer.turn_id for answer in answers}]
    spans = sorted(
        (datetime.fromisoformat(record["started_at"]), datetime.fromisoformat(record["ended_at"]))
        for record in records
    )
    assert len(spans) == len(answers)
    assert all(began >= before for (_, before), (began, _) in pairwise(spans)), spans


def check_order(items: list[dict[str, Any]], answers: dict[str, Answer]) -> None:
    """What was said in answer to a message stands right behind it."""
    for before, item in pairwise(items):
        if item["type"] == "assistant_message":
            assert before["type"] == "user_message"
            assert text_of(before) not in answers or text_of(item) == answers[text_of(before)].text


class Watch:
    """Looks again and again which turn runs in a thread."""

    def __init__(self, cluster: Cluster, thread_id: str) -> None:
        self._cluster = cluster
        self._thread_id = thread_id
        self.seen: list[str] = []

    async def run(self) -> None:
        async with store_of(self._cluster.store) as store:
            while True:
                page = (await store.get(f"/v1/threads/{self._thread_id}/items")).json()
                running = page.get("running_turn_id")
                if running is not None and running not in self.seen[-1:]:
                    self.seen.append(running)
                await asyncio.sleep(0.003)


# interrupt


@WHERE
@pytest.mark.parametrize("model", [ENDLESS, SILENT], ids=["speaking", "silent"])
async def test_a_new_message_ends_the_answer_that_runs_and_keeps_it(
    cluster: Cluster, where: int, model: str, record_property: pytest.RecordProperty
) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "long, please", model)) as first:
            await first.read(deltas=10) if model == ENDLESS else await first.read(events=2)
            began = time.monotonic()
            second = await ask(there, add(thread_id, "short, please", "script:text=ok"))
            record_property("seconds", time.monotonic() - began)
            print(f"interrupt: {round((time.monotonic() - began) * 1000)} ms")  # noqa: T201 (for pytest -s)
            await first.read()
    assert errors_of(first.events) == []
    assert second.text == "ok"
    items = (await stored(cluster, thread_id))[2:]
    partial = ["assistant_message"] if model == ENDLESS else []
    assert kinds(items) == [
        "user_message",
        *partial,
        "sdk_hidden_context",
        "user_message",
        "assistant_message",
    ]
    if partial:
        assert text_of(items[1]) == first.text
    assert (await turn(cluster, first.turn_id))["state"] == "cancelled"
    await check_one_after_the_other(cluster, [first, second])


async def test_five_messages_at_once_interrupt_each_other_in_turn(cluster: Cluster) -> None:
    """From two gateways. Each is stored once and knows all before it; the last is answered whole."""
    texts = [unique(f"number {number}") for number in range(5)]
    async with cluster.client(0).http as http:
        thread_id = await new_thread(http)
    watch = Watch(cluster, thread_id)
    watching = asyncio.create_task(watch.run())
    answers = await all_at_once(cluster, thread_id, texts, RUNS)
    watching.cancel()
    items = await stored(cluster, thread_id)
    assert sorted(said_by_user(items)[1:]) == sorted(texts)
    assert [errors_of(answer.events) for answer in answers] == [[]] * 5
    order = said_by_user(items)
    check_order(items, dict(zip(texts, answers, strict=True)))
    by_text = dict(zip(texts, answers, strict=True))
    assert by_text[order[-1]].delta_count == 600
    assert text_of(items[-1]) == by_text[order[-1]].text
    for text in texts:
        for said in await asked_of_model(cluster, text):
            assert said == order[: len(said)], "the history is what came before"
    await check_one_after_the_other(cluster, answers)
    assert len(watch.seen) == len(set(watch.seen)), "no turn ran again after another had begun"
    states = [(await turn(cluster, by_text[text].turn_id))["state"] for text in order[1:]]
    assert states == ["cancelled"] * 4 + ["completed"]


@WHERE
async def test_a_retry_interrupts_too(cluster: Cluster, where: int) -> None:
    """What the interrupted answer said is gone with its place."""
    async with (
        cluster.client(0).http as here,
        cluster.client(where).http as there,
        asking(here, create(unique("Hello"), LONG)) as first,
    ):
        await first.read(deltas=10)
        question = (await stored(cluster, first.thread_id))[0]
        again = await ask(there, retry(first.thread_id, question["id"]))
        await first.read()
    items = await stored(cluster, first.thread_id)
    assert kinds(items) == ["user_message", "assistant_message"]
    assert text_of(items[1]) == again.text
    assert answers_of(again.events) == [again.text]


# queue


@WHERE
async def test_a_queued_message_waits_for_the_answer_that_runs(queueing: Cluster, where: int) -> None:
    async with queueing.client(0).http as here, queueing.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "first", SLOW)) as first:
            await first.read(deltas=2)
            second = asyncio.create_task(ask(there, add(thread_id, "second", "script:text=ok")))
            await first.read()
            assert (await second).text == "ok"
    assert first.delta_count == 40
    assert kinds(await stored(queueing, thread_id)) == ["user_message", "assistant_message"] * 3
    await check_one_after_the_other(queueing, [first, second.result()])


async def test_five_messages_at_once_are_answered_one_after_the_other(queueing: Cluster) -> None:
    texts = [unique(f"number {number}") for number in range(5)]
    async with queueing.client(0).http as http:
        thread_id = await new_thread(http)
    watch = Watch(queueing, thread_id)
    watching = asyncio.create_task(watch.run())
    answers = await all_at_once(queueing, thread_id, texts, SLOW)
    watching.cancel()
    items = await stored(queueing, thread_id)
    order = said_by_user(items)
    assert sorted(order[1:]) == sorted(texts)
    assert kinds(items) == ["user_message", "assistant_message"] * 6
    assert [answer.delta_count for answer in answers] == [40] * 5
    check_order(items, dict(zip(texts, answers, strict=True)))
    for number, text in enumerate(order[1:], 2):
        assert (await asked_of_model(queueing, text))[0] == order[:number]
    await check_one_after_the_other(queueing, answers)
    by_text = dict(zip(texts, answers, strict=True))
    ran = iter(by_text[text].turn_id for text in order[1:])
    assert watch.seen
    assert all(turn_id in ran for turn_id in watch.seen), "in this order; a look may have missed one"


async def test_messages_on_one_gateway_are_answered_in_the_order_they_came(queueing: Cluster) -> None:
    async with queueing.client(0).http as http:
        thread_id = await new_thread(http)
        async with AsyncExitStack() as stack:
            answers: list[Answer] = []
            for number in range(4):  # each begins, or has its first keep-alive, before the next is sent
                request = add(thread_id, f"number {number}", SLOW)
                answers.append(await stack.enter_async_context(asking(http, request)))
            await asyncio.gather(*(answer.read() for answer in answers))
    assert said_by_user(await stored(queueing, thread_id))[1:] == [f"number {number}" for number in range(4)]


@WHERE
async def test_keepalives_tell_who_waits_that_the_line_is_open(queueing: Cluster, where: int) -> None:
    async with queueing.client(0).http as here, queueing.client(where).http as there:
        thread_id = await new_thread(here)
        async with AsyncExitStack() as talking:
            first = await talking.enter_async_context(asking(here, add(thread_id, "first", ENDLESS)))
            await first.read(deltas=1)
            async with there.stream("POST", "/chatkit", json=add(thread_id, "second", FAST)) as response:
                coming, heard = response.aiter_raw(), b""
                while heard.count(b": ping\n") < 3:
                    heard += await anext(coming)
                    assert b"data: " not in heard
                await talking.aclose()  # which stops the first
                heard += b"".join([data async for data in coming])
    assert response.status_code == 200
    assert response.headers["chatkit-turn-id"].startswith("trn_")
    assert b'"second"' in heard


@WHERE
@pytest.mark.parametrize("numbered", [False, True], ids=["without numbers", "numbered"])
async def test_who_leaves_while_waiting_has_said_nothing(
    queueing: Cluster, where: int, numbered: bool
) -> None:
    async with queueing.client(0).http as here, queueing.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "first", RUNS)) as first:
            await first.read(deltas=2)
            headers = RESUMABLE if numbered else {}
            body = json.dumps(add(thread_id, "never mind", FAST))
            request = there.build_request(
                "POST", "/chatkit", content=body, headers={"content-type": "application/json", **headers}
            )
            response = await there.send(request, stream=True)
            await anext(response.aiter_raw())  # a keep-alive: it waits
            await response.aclose()
            await first.read(deltas=first.delta_count + 100)
        last = await ask(here, add(thread_id, "last", FAST))
    assert last.delta_count == 3
    assert said_by_user(await stored(queueing, thread_id))[1:] == ["first", "last"]


@WHERE
async def test_the_next_in_the_queue_is_answered_when_the_one_before_is_stopped(
    queueing: Cluster, where: int
) -> None:
    async with queueing.client(0).http as here, queueing.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "first", ENDLESS)) as first:
            await first.read(deltas=2)
            second = asyncio.create_task(ask(there, add(thread_id, "second", "script:text=ok")))
            await asyncio.sleep(0.3)
        async with asyncio.timeout(15):
            assert (await second).text == "ok"
    assert (await ended(queueing, first.turn_id))["state"] == "cancelled"


@WHERE
async def test_who_waits_too_long_is_told_so(impatient: Cluster, where: int) -> None:
    """QUEUE_TIMEOUT_S: an error that allows another try, and nothing was said."""
    async with impatient.client(0).http as here, impatient.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "first", ENDLESS)) as first:
            await first.read(deltas=2)
            began = time.monotonic()
            second = await ask(there, add(thread_id, "second", FAST))
            waited_s = time.monotonic() - began
    assert [event["type"] for event in second.events] == ["error"]
    assert second.events[0]["allow_retry"] is True
    assert QUEUE_TIMEOUT_S - 0.1 < waited_s < QUEUE_TIMEOUT_S + 12
    assert said_by_user(await stored(impatient, thread_id))[1:] == ["first"]


async def test_who_waits_behind_others_waits_no_longer_than_that(impatient: Cluster) -> None:
    """The time counts from when the message came, however many are in the queue before it."""
    async with impatient.client(0).http as http:
        thread_id = await new_thread(http)
        async with asking(http, add(thread_id, "first", ENDLESS)) as first:
            await first.read(deltas=2)
            began = time.monotonic()
            others = await asyncio.gather(*(ask(http, add(thread_id, f"{n}", FAST)) for n in range(4)))
            waited_s = time.monotonic() - began
    assert [[event["type"] for event in answer.events] for answer in others] == [["error"]] * 4
    assert waited_s < 8  # one after the other they would wait for 12 s


# reject


@WHERE
async def test_a_rejected_message_is_one_error_that_allows_another_try(
    rejecting: Cluster, where: int
) -> None:
    async with rejecting.client(0).http as here, rejecting.client(where).http as there:
        thread_id = await new_thread(here)
        async with asking(here, add(thread_id, "first", RUNS)) as first:
            await first.read(deltas=2)
            second = await ask(there, add(thread_id, "second", FAST))
            strict = await there.post(
                "/chatkit", json=add(thread_id, "third", FAST), headers={"Prefer": "handling=strict"}
            )
            await first.read()
        fourth = await ask(there, add(thread_id, "fourth", FAST))
    assert [event["type"] for event in second.events] == ["error"]
    assert second.events[0]["allow_retry"] is True
    assert second.events[0]["message"]
    assert (strict.status_code, strict.json()["code"]) == (409, "turn_running")
    assert first.delta_count == 600
    assert fourth.delta_count == 3
    assert said_by_user(await stored(rejecting, thread_id))[1:] == ["first", "fourth"]


async def test_one_of_five_messages_at_once_is_taken(rejecting: Cluster) -> None:
    texts = [f"number {number}" for number in range(5)]
    async with rejecting.client(0).http as http:
        thread_id = await new_thread(http)
    answers = await all_at_once(rejecting, thread_id, texts, RUNS)
    taken = [answer for answer in answers if not errors_of(answer.events)]
    assert len(taken) == 1
    assert taken[0].delta_count == 600
    refused = [answer for answer in answers if answer is not taken[0]]
    assert [[event["type"] for event in answer.events] for answer in refused] == [["error"]] * 4
    assert len(said_by_user(await stored(rejecting, thread_id))) == 2


# whatever the setting


async def test_threads_do_not_wait_for_each_other(queueing: Cluster) -> None:
    async with (
        queueing.client(0).http as here,
        queueing.client(1).http as there,
        asking(here, create(unique("Hello"), ENDLESS)) as first,
    ):
        await first.read(deltas=2)
        async with asyncio.timeout(15):
            second = await ask(there, create(unique("Hello"), FAST))
    assert second.delta_count == 3


@pytest.mark.parametrize("setting", ["cluster", "queueing", "rejecting"])
async def test_twenty_people_with_three_messages_each(request: pytest.FixtureRequest, setting: str) -> None:
    """Many threads at once on both gateways: no message is lost, doubled or in the wrong thread."""
    one: Cluster = request.getfixturevalue(setting)
    model = "script:deltas=10&delay_ms=5"

    async def person(https: list[httpx.AsyncClient], number: int) -> None:
        thread_id = await new_thread(https[number % 2])
        texts = [f"{number} says {count}" for count in range(3)]
        answers = await asyncio.gather(
            *(
                ask(https[(number + count) % 2], add(thread_id, text, model))
                for count, text in enumerate(texts)
            )
        )
        refused = [text for text, answer in zip(texts, answers, strict=True) if errors_of(answer.events)]
        said = said_by_user(await stored(one, thread_id))[1:]
        assert sorted(said + refused) == texts
        assert setting == "rejecting" or not refused

    async with AsyncExitStack() as stack:
        https = [await stack.enter_async_context(one.client(index).http) for index in (0, 1)]
        await asyncio.gather(*(person(https, number) for number in range(20)))


async def test_a_thread_of_its_own_is_made_for_every_new_conversation(cluster: Cluster) -> None:
    """However alike, and however close in time."""
    body = {"type": "threads.create", "params": {"input": message("Hello, you", model=FAST)}}
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        answers = await asyncio.gather(*(ask(http, body) for http in [here, there] * 5))
    assert len({answer.thread_id for answer in answers}) == 10
