"""Requests that come again: what was sent twice is heard once, and what was said twice is heard twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.client import answers_of, errors_of, message, text_of
from tests.cluster import RESUMABLE, Cluster, Reading, begin, more_gateways, resume
from tests.processes import running
from tests.stack import JWT_SECRET, gateway_service
from tests.turns import (
    Answer,
    add,
    ask,
    asking,
    create,
    deserted,
    ended,
    following,
    kinds,
    outcomes,
    retry,
    said_by_user,
    stored,
    threads_with,
    unique,
)

FAST = "script:deltas=3"
SLOW = "script:deltas=80&delay_ms=20"
ENDLESS = "script:deltas=2000&delay_ms=20"
GRACE_S = 6.0
WINDOW_S = 3.0

WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])
KIND = pytest.mark.parametrize("kind", ["threads.create", "threads.add_user_message"])
GRACE = pytest.mark.parametrize("grace", ["at once", "in grace"])


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": f"key {uuid4().hex}"}


@pytest.fixture(scope="module")
def patient(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways that wait a while for readers who left."""
    with more_gateways(cluster, CANCEL_GRACE_S=str(GRACE_S)) as one:
        yield one


@pytest.fixture(scope="module")
def forgetful(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways that take a request for the same only for a short while."""
    with more_gateways(cluster, RESEND_WINDOW_S=str(WINDOW_S)) as one:
        yield one


@pytest.fixture(scope="module")
def slow(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways whose own model takes its time: the one that retries are answered by."""
    with more_gateways(cluster, MODEL="script:deltas=150&delay_ms=20") as one:
        yield one


async def request_of(kind: str, http: httpx.AsyncClient, text: str, model: str) -> dict[str, Any]:
    """A request that says something: in a new thread, or in one that is there."""
    if kind == "threads.create":
        return create(text, model)
    before = await ask(http, create(unique("Hello"), FAST))
    return add(before.thread_id, text, model)


async def heard(cluster: Cluster, body: dict[str, Any], text: str) -> list[list[str]]:
    """How the threads stand in which the text was heard: the types of their items, from it on."""
    params = body["params"]
    thread_ids = [params["thread_id"]] if "thread_id" in params else await threads_with(cluster, text)
    found: list[list[str]] = []
    for thread_id in thread_ids:
        items = await stored(cluster, thread_id)
        texts = [text_of(item) if item["type"] == "user_message" else "" for item in items]
        found += [kinds(items)[texts.index(text) :]]
    return found


# With a key


@WHERE
@KIND
async def test_a_key_joins_the_running_turn(cluster: Cluster, kind: str, where: int) -> None:
    text, key = unique("Tell me"), new_key()
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        body = await request_of(kind, here, text, SLOW)
        async with asking(here, body, **key) as first:
            await first.read(deltas=10)
            second = await ask(there, body, **key)
            await first.read()
    assert second.turn_id == first.turn_id
    assert second.events == first.events
    assert first.delta_count == 80
    assert await heard(cluster, body, text) == [["user_message", "assistant_message"]]
    assert len(await outcomes(cluster, text)) == 1


@WHERE
@KIND
@pytest.mark.parametrize("numbered", [False, True], ids=["without numbers", "numbered"])
async def test_a_key_gives_the_finished_answer_again(
    cluster: Cluster, kind: str, where: int, numbered: bool
) -> None:
    text, key = unique("Tell me"), new_key()
    headers = {**key, **(RESUMABLE if numbered else {})}
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        body = await request_of(kind, here, text, "script:deltas=30&delay_ms=10")
        first = await ask(here, body, **headers)
        again = [await ask(there, body, **headers) for _ in range(2)]
    assert [answer.events for answer in again] == [first.events] * 2
    assert {answer.turn_id for answer in again} == {first.turn_id}
    assert await heard(cluster, body, text) == [["user_message", "assistant_message"]]


@WHERE
@KIND
async def test_a_turn_too_short_for_the_journal_is_told_in_its_final_form(
    cluster: Cluster, kind: str, where: int
) -> None:
    text, key = unique("Tell me"), new_key()
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        body = await request_of(kind, here, text, FAST)
        first = await ask(here, body, **key)
        again = await ask(there, body, **key)
    assert again.turn_id == first.turn_id
    assert answers_of(again.events) == [first.text]
    assert await heard(cluster, body, text) == [["user_message", "assistant_message"]]


async def test_a_key_is_known_after_a_restart(cluster: Cluster) -> None:
    text, key = unique("Tell me"), new_key()
    body = create(text, "script:deltas=30&delay_ms=10")
    service = gateway_service(cluster.store, cluster.model)
    answers: list[Answer] = []
    for _ in range(2):
        with running(service):
            async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:
                answers.append(await ask(http, body, **key))
    assert answers[0].turn_id == answers[1].turn_id
    assert answers[0].events == answers[1].events
    assert await heard(cluster, body, text) == [["user_message", "assistant_message"]]


@KIND
@pytest.mark.parametrize("model", [FAST, "script:deltas=30&delay_ms=10"], ids=["short", "long"])
@pytest.mark.parametrize("numbered", [False, True], ids=["without numbers", "numbered"])
async def test_one_of_many_at_the_same_instant_begins_and_all_hear_it(
    cluster: Cluster, kind: str, model: str, numbered: bool
) -> None:
    """On both gateways; each has the whole answer and knows the turn by its right id."""
    text, key = unique("Tell me"), new_key()
    headers = {**key, **(RESUMABLE if numbered else {})}
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        body = await request_of(kind, here, text, model)
        answers = await asyncio.gather(*(ask(http, body, **headers) for http in [here, there] * 4))
    assert len({answer.turn_id for answer in answers}) == 1
    items = [answers_of(answer.events) for answer in answers]
    assert len(items[0]) == 1
    assert items == [items[0]] * 8
    assert [errors_of(answer.events) for answer in answers] == [[]] * 8
    assert await heard(cluster, body, text) == [["user_message", "assistant_message"]]
    assert len(await outcomes(cluster, text)) == 1


@WHERE
@pytest.mark.parametrize("when", ["running", "ended"])
async def test_a_key_with_another_body_is_refused(cluster: Cluster, where: int, when: str) -> None:
    key = new_key()
    async with (
        cluster.client(0).http as here,
        cluster.client(where).http as there,
        asking(here, create(unique("One"), SLOW), **key) as first,
    ):
        if when == "ended":
            await first.read()
        response = await there.post("/chatkit", json=create(unique("Another"), FAST), headers=key)
        await first.read()
    assert response.status_code == 422
    assert response.json()["code"] == "key_reused"
    assert response.json()["message"]
    assert first.delta_count == 80


async def test_the_same_key_of_another_owner_is_another_key(cluster: Cluster) -> None:
    def as_owner(name: str) -> dict[str, str]:
        token = jwt.encode({"sub": name, "exp": int(time.time()) + 600}, JWT_SECRET)
        return {"authorization": f"Bearer {token}"}

    key, body = new_key(), create(unique("Tell me"), FAST)
    with running(gateway_service(cluster.store, cluster.model, AUTH="jwt", JWT_SECRET=JWT_SECRET)) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:
            alice, bob = [await ask(http, body, **key, **as_owner(name)) for name in ("alice", "bob")]
            assert alice.turn_id != bob.turn_id
            assert alice.thread_id != bob.thread_id
            alone = await http.get(f"/chatkit/turns/{alice.turn_id}/events", headers=as_owner("bob"))
            assert alone.status_code == 404
    for answer, owner in [(alice, "alice"), (bob, "bob")]:
        assert kinds(await stored(cluster, answer.thread_id, owner)) == ["user_message", "assistant_message"]


@pytest.mark.parametrize(("key", "status"), [("k" * 255, 200), ("k" * 256, 400), ("", 400)])
async def test_a_key_has_a_length(cluster: Cluster, key: str, status: int) -> None:
    key = key and key[:-32] + uuid4().hex
    async with cluster.client(0).http as http:
        body = create(unique("Tell me"), FAST)
        response = await http.post("/chatkit", json=body, headers={"Idempotency-Key": key})
    assert response.status_code == status
    if status == 400:
        assert response.json()["field"] == "Idempotency-Key"


@WHERE
async def test_a_retry_with_a_key_is_done_once(slow: Cluster, where: int) -> None:
    """Sent again it does not remove the new answer."""
    key = new_key()
    async with slow.client(0).http as here, slow.client(where).http as there:
        before = await ask(here, create(unique("Tell me"), "script:deltas=30&delay_ms=10"))
        items = await stored(slow, before.thread_id)
        body = retry(before.thread_id, items[0]["id"])
        async with asking(here, body, **key) as first:
            await first.read(deltas=5)
            while_running = await ask(there, body, **key)
            await first.read()
        after = await ask(there, body, **key)
    assert first.turn_id == while_running.turn_id == after.turn_id != before.turn_id
    assert first.events == while_running.events == after.events
    left = await stored(slow, before.thread_id)
    assert kinds(left) == ["user_message", "assistant_message"]
    assert left[1]["id"] not in {item["id"] for item in items}


# Without a key: the re-sends of unmodified chatkit.js


@WHERE
@KIND
@GRACE
@pytest.mark.parametrize("after_s", [0, 0.6])
async def test_who_lost_the_connection_and_sends_again_is_heard_once_and_answered_whole(
    cluster: Cluster, patient: Cluster, kind: str, where: int, grace: str, after_s: float
) -> None:
    one = patient if grace == "in grace" else cluster
    text = unique("Tell me")
    async with one.client(0).http as here, one.client(where).http as there:
        body = await request_of(kind, here, text, "script:deltas=150&delay_ms=20")
        async with asking(here, body) as first:
            await first.read(deltas=10)
        await deserted(one, first.turn_id)
        await asyncio.sleep(after_s)
        second = await ask(there, body)
    assert answers_of(second.events) == [second.text]
    assert second.delta_count == 150
    assert errors_of(second.events) == []
    assert await heard(one, body, text) == [["user_message", "assistant_message"]]


@KIND
@GRACE
async def test_five_lost_connections_in_a_row_are_no_five_messages(
    cluster: Cluster, patient: Cluster, kind: str, grace: str
) -> None:
    """On one gateway and the other, with something read and with nothing."""
    one, deltas = (patient, 400) if grace == "in grace" else (cluster, 200)
    text = unique("Tell me")
    async with one.client(0).http as here, one.client(1).http as there:
        body = await request_of(kind, here, text, f"script:deltas={deltas}&delay_ms=20")
        for number, http in enumerate([here, there, there, here, there]):
            async with asking(http, body) as answer:
                await answer.read(events=number)
            await deserted(one, answer.turn_id)
        last = await ask(there, body)
    assert last.delta_count == deltas
    assert answers_of(last.events) == [last.text]
    assert await heard(one, body, text) == [["user_message", "assistant_message"]]


@WHERE
@KIND
async def test_an_answer_that_was_done_meanwhile_is_told_to_who_sends_again(
    patient: Cluster, kind: str, where: int
) -> None:
    text = unique("Tell me")
    async with patient.client(0).http as here, patient.client(where).http as there:
        body = await request_of(kind, here, text, SLOW)
        async with asking(here, body) as first:
            await first.read(deltas=5)
        await deserted(patient, first.turn_id)
        await ended(patient, first.turn_id)
        second = await ask(there, body)
    assert second.turn_id == first.turn_id
    assert second.delta_count == 80
    assert answers_of(second.events) == [second.text]
    assert await heard(patient, body, text) == [["user_message", "assistant_message"]]


@WHERE
async def test_after_the_window_the_same_text_is_another_message(forgetful: Cluster, where: int) -> None:
    text = unique("Tell me")
    async with forgetful.client(0).http as here, forgetful.client(where).http as there:
        body = await request_of("threads.add_user_message", here, text, SLOW)
        async with asking(here, body) as first:
            await first.read(deltas=3)
        await ended(forgetful, first.turn_id)
        await asyncio.sleep(WINDOW_S + 0.5)
        second = await ask(there, body)
    assert second.delta_count == 80
    assert said_by_user(await stored(forgetful, body["params"]["thread_id"]))[1:] == [text, text]


@WHERE
async def test_within_the_window_it_is_the_same_message(forgetful: Cluster, where: int) -> None:
    text = unique("Tell me")
    async with forgetful.client(0).http as here, forgetful.client(where).http as there:
        body = await request_of("threads.add_user_message", here, text, SLOW)
        async with asking(here, body) as first:
            await first.read(deltas=3)
        await deserted(forgetful, first.turn_id)
        await asyncio.sleep(WINDOW_S / 6)
        await ask(there, body)
    assert said_by_user(await stored(forgetful, body["params"]["thread_id"]))[1:] == [text]


@WHERE
async def test_a_retry_that_is_sent_again_is_done_once(slow: Cluster, where: int) -> None:
    async with slow.client(0).http as here, slow.client(where).http as there:
        before = await ask(here, create(unique("Tell me"), "script:deltas=60&delay_ms=10"))
        items = await stored(slow, before.thread_id)
        body = retry(before.thread_id, items[0]["id"])
        async with asking(here, body) as first:
            await first.read(deltas=5)
        await deserted(slow, first.turn_id)
        second = await ask(there, body)
    assert answers_of(second.events) == [second.text]
    assert kinds(await stored(slow, before.thread_id)) == ["user_message", "assistant_message"]


# A person who says "yes" twice


async def say_yes(http: httpx.AsyncClient, thread_id: str, model: str = FAST) -> Answer:
    return await ask(http, add(thread_id, "yes", model))


async def yeses(cluster: Cluster, thread_id: str) -> int:
    return said_by_user(await stored(cluster, thread_id)).count("yes")


@WHERE
async def test_yes_said_twice_is_heard_twice(cluster: Cluster, where: int) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        await say_yes(here, thread_id)
        await say_yes(there, thread_id)
    assert await yeses(cluster, thread_id) == 2


@WHERE
async def test_yes_said_again_while_it_is_being_answered_is_heard_twice(cluster: Cluster, where: int) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        async with asking(here, add(thread_id, "yes", ENDLESS)) as first:
            await first.read(deltas=5)
            second = await ask(there, add(thread_id, "yes", ENDLESS.replace("2000", "5")))
            await first.read()
    assert second.delta_count == 5
    assert await yeses(cluster, thread_id) == 2


@WHERE
async def test_yes_again_after_the_answer_was_resumed_and_read_to_its_end(
    cluster: Cluster, where: int
) -> None:
    """The reader has numbers, loses the connection, comes back by the turn's id, and says yes again."""
    reading = Reading()
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", "script:deltas=40&delay_ms=20")
        await begin(here, body, reading, events=8)
        assert await resume(there, reading)
        second = await ask(there, body, **RESUMABLE)
    assert second.turn_id != reading.turn_id
    assert await yeses(cluster, thread_id) == 2


@WHERE
async def test_yes_again_after_the_answer_ended_and_was_then_resumed(cluster: Cluster, where: int) -> None:
    reading = Reading()
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", "script:deltas=40&delay_ms=20")
        await begin(here, body, reading, events=8)
        await ended(cluster, reading.turn_id)
        assert await resume(there, reading)
        await ask(there, body, **RESUMABLE)
    assert await yeses(cluster, thread_id) == 2


@WHERE
async def test_yes_again_after_it_was_sent_again_and_read_to_its_end(patient: Cluster, where: int) -> None:
    """Lost, sent again (one message), read to its end, said again (another message)."""
    async with patient.client(0).http as here, patient.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", "script:deltas=120&delay_ms=20")
        async with asking(here, body) as first:
            await first.read(deltas=5)
        await deserted(patient, first.turn_id)
        second = await ask(there, body)
        assert (second.turn_id, second.delta_count) == (first.turn_id, 120)
        third = await ask(there, body)
    assert third.turn_id != first.turn_id
    assert third.delta_count == 120
    assert await yeses(patient, thread_id) == 2


@WHERE
async def test_yes_again_after_a_page_was_loaded_again_and_followed_the_turn(
    patient: Cluster, where: int
) -> None:
    async with patient.client(0).http as here, patient.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", "script:deltas=60&delay_ms=20")
        async with asking(here, body) as first:
            await first.read(deltas=5)
        async with following(there, first.turn_id) as second:
            await second.read()
        assert second.delta_count == 60
        await ask(there, body)
    assert await yeses(patient, thread_id) == 2


@WHERE
async def test_after_stop_another_text_and_then_the_first_again_are_all_heard(
    cluster: Cluster, where: int
) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        async with asking(here, add(thread_id, "yes", ENDLESS)) as stopped:
            await stopped.read(deltas=5)
        await ask(there, add(thread_id, "no", FAST))
        async with asking(there, add(thread_id, "yes", ENDLESS)) as again:
            await again.read(deltas=5)
    assert said_by_user(await stored(cluster, thread_id))[1:] == ["yes", "no", "yes"]


@WHERE
async def test_after_stop_the_same_text_is_one_message_answered_again(cluster: Cluster, where: int) -> None:
    """It cannot be told from a lost connection; the stopped answer makes room for the new one."""
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", "script:deltas=150&delay_ms=20")
        async with asking(here, body) as stopped:
            await stopped.read(deltas=5)
        await ended(cluster, stopped.turn_id)
        again = await ask(there, body)
    assert again.turn_id != stopped.turn_id
    assert again.delta_count == 150
    items = await stored(cluster, thread_id)
    assert kinds(items) == ["user_message", "assistant_message"] * 2
    assert text_of(items[-1]) == again.text


@WHERE
async def test_after_an_explicit_cancel_the_same_text_is_another_message(
    cluster: Cluster, where: int
) -> None:
    """Who cancels by the turn's id, and reads the end, has lost nothing."""
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = (await ask(here, create(unique("Hello"), FAST))).thread_id
        body = add(thread_id, "yes", SLOW)
        async with asking(here, body) as first:
            await first.read(deltas=5)
            await there.post(f"/chatkit/turns/{first.turn_id}/cancel")
            await first.read()
        await ask(there, body)
    assert await yeses(cluster, thread_id) == 2


async def test_two_people_with_one_account_may_begin_alike(cluster: Cluster) -> None:
    """The same first message in two tabs makes two threads."""
    text = unique("Hello")
    body = {"type": "threads.create", "params": {"input": message(text, model=SLOW)}}
    async with cluster.client(0).http as here, cluster.client(1).http as there:
        one, other = await asyncio.gather(ask(here, body), ask(there, body))
    assert one.thread_id != other.thread_id
    assert (one.delta_count, other.delta_count) == (80, 80)
