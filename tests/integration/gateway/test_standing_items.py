"""A thread that is loaded while an answer runs shows the answer as it stands, on any gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.client import Client, text_of
from tests.cluster import Cluster, more_gateways
from tests.turns import add, ask, asking, create, ended, journalled, kinds, retry, stored, unique

FAST = "script:deltas=3"
SLOW = "script:deltas=100&delay_ms=15"
ENDLESS = "script:deltas=2000&delay_ms=20"
LONG = "script:deltas=250&delay_ms=20"
SILENT = "script:deltas=5&first_ms=30000"

WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same gateway", "another gateway"])


async def loaded(http: httpx.AsyncClient, thread_id: str) -> list[dict[str, Any]]:
    """The items that `threads.get_by_id` gives."""
    return (await Client(http).call("threads.get_by_id", thread_id=thread_id))["items"]["data"]


async def listed(http: httpx.AsyncClient, thread_id: str, **params: Any) -> dict[str, Any]:
    return await Client(http).call("items.list", thread_id=thread_id, **params)


@pytest.fixture(scope="module")
def slow(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways whose own model takes its time: the one that retries are answered by."""
    with more_gateways(cluster, MODEL=SLOW) as one:
        yield one


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


async def long_thread(http: httpx.AsyncClient, messages: int) -> str:
    """A thread with so many messages, each answered."""
    thread_id = (await ask(http, create(unique("number 0"), FAST))).thread_id
    for number in range(1, messages):
        await ask(http, add(thread_id, f"number {number}", FAST))
    return thread_id


@WHERE
async def test_a_page_that_is_loaded_again_shows_what_was_said_so_far(cluster: Cluster, where: int) -> None:
    async with (
        cluster.client(0).http as here,
        cluster.client(where).http as there,
        asking(here, create(unique("A story"), ENDLESS)) as answer,
    ):
        await answer.read(deltas=20)
        await journalled(cluster, answer.turn_id, len(answer.events))
        items = await loaded(there, answer.thread_id)
        page = await listed(there, answer.thread_id)
        assert kinds(items) == ["user_message", "assistant_message"]
        assert kinds(page["data"]) == ["assistant_message", "user_message"]
        shown = [text_of(items[1]), text_of(page["data"][0])]
        await answer.read(deltas=max(len(text) for text in shown) // 4)
    assert len(shown[0]) >= 20 * 4
    assert [answer.text.startswith(text) for text in shown] == [True, True]
    added = next(event["item"] for event in answer.events if event["type"] == "thread.item.added")
    assert items[1]["id"] == added["id"] == page["data"][0]["id"]


@WHERE
async def test_an_answer_is_there_from_its_first_word_to_its_end_and_never_twice(
    cluster: Cluster, where: int
) -> None:
    """Looked at again and again, in both orders: it only grows, and its end is the stored one."""
    looks = 0
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        async with asking(here, create(unique("A story"), SLOW)) as answer:
            await answer.read(deltas=1)
            thread_id = answer.thread_id
            reading = asyncio.create_task(answer.read())
            shown = {"get": "", "asc": "", "desc": ""}
            while looks < 3 or not reading.done():
                views = {
                    "get": await loaded(there, thread_id),
                    "asc": (await listed(there, thread_id, order="asc"))["data"],
                    "desc": (await listed(there, thread_id, order="desc"))["data"][::-1],
                }
                for name, items in views.items():
                    assert kinds(items)[0] == "user_message"
                    texts = [text_of(item) for item in items[1:]]
                    assert len(texts) == 1 or not (texts or shown[name])
                    if texts:
                        assert texts[0].startswith(shown[name])
                        shown[name] = texts[0]
                looks += 1
            await reading
        for items in [await loaded(there, thread_id), (await listed(there, thread_id))["data"][::-1]]:
            assert kinds(items) == ["user_message", "assistant_message"]
            assert text_of(items[1]) == answer.text
    assert all(0 < len(text) <= len(answer.text) for text in shown.values())


@WHERE
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_paging_through_the_thread_meets_every_item_once(
    cluster: Cluster, where: int, order: str, limit: int
) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = await long_thread(here, 3)
        before = ids(await stored(cluster, thread_id))
        async with asking(here, add(thread_id, "and now?", ENDLESS)) as answer:
            await answer.read(deltas=5)
            await journalled(cluster, answer.turn_id, len(answer.events))
            met: list[str] = []
            after: dict[str, str] = {}
            while True:
                page = await listed(there, thread_id, order=order, limit=limit, **after)
                met += ids(page["data"])
                if not page["has_more"]:
                    break
                after = {"after": page["after"]}
            question = next(e["item"] for e in answer.events if e["type"] == "thread.item.done")
            said = next(e["item"] for e in answer.events if e["type"] == "thread.item.added")
    expected = [*before, question["id"], said["id"]]
    assert met == (expected if order == "asc" else expected[::-1])


@WHERE
async def test_a_page_behind_an_item_has_what_stands_there(cluster: Cluster, where: int) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = await long_thread(here, 2)
        before = ids(await stored(cluster, thread_id))
        async with asking(here, add(thread_id, "and now?", ENDLESS)) as answer:
            await answer.read(deltas=5)
            await journalled(cluster, answer.turn_id, len(answer.events))
            newer = await listed(there, thread_id, order="asc", after=before[-1])
            older = await listed(there, thread_id, order="desc", after=before[-1])
    assert kinds(newer["data"]) == ["user_message", "assistant_message"]
    assert text_of(newer["data"][0]) == "and now?"
    assert ids(older["data"]) == before[-2::-1]


@WHERE
async def test_a_long_thread_shows_the_running_answer_on_its_last_page(cluster: Cluster, where: int) -> None:
    """`threads.get_by_id` gives the oldest twenty items; the newest come first in `items.list`."""
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        thread_id = await long_thread(here, 11)
        async with asking(here, add(thread_id, "and now?", ENDLESS)) as answer:
            await answer.read(deltas=5)
            await journalled(cluster, answer.turn_id, len(answer.events))
            thread = await Client(there).call("threads.get_by_id", thread_id=thread_id)
            newest = await listed(there, thread_id, limit=2)
    assert len(thread["items"]["data"]) == 20
    assert thread["items"]["has_more"] is True
    assert kinds(newest["data"])[:2] == ["assistant_message", "user_message"]
    assert text_of(newest["data"][1]) == "and now?"


@WHERE
async def test_a_model_that_has_said_nothing_yet_shows_the_message_alone(
    cluster: Cluster, where: int
) -> None:
    async with (
        cluster.client(0).http as here,
        cluster.client(where).http as there,
        asking(here, create(unique("Hello?"), SILENT)) as answer,
    ):
        await answer.read(events=3)
        items = await loaded(there, answer.thread_id)
        page = await listed(there, answer.thread_id)
    assert kinds(items) == kinds(page["data"]) == ["user_message"]


@WHERE
async def test_after_a_stop_the_partial_answer_is_there_once(cluster: Cluster, where: int) -> None:
    async with cluster.client(0).http as here, cluster.client(where).http as there:
        async with asking(here, create(unique("A story"), ENDLESS)) as answer:
            await answer.read(deltas=20)
        await ended(cluster, answer.turn_id)
        items = await loaded(there, answer.thread_id)
        page = await listed(there, answer.thread_id)
    assert kinds(items) == ["user_message", "assistant_message"]
    assert items == page["data"][::-1]
    assert text_of(items[1]).startswith(answer.text)


@WHERE
async def test_a_retried_answer_takes_the_place_of_the_one_before(slow: Cluster, where: int) -> None:
    """While it runs nothing is shown of the one that it replaces."""
    async with (
        slow.client(0).http as here,
        slow.client(where).http as there,
        asking(here, create(unique("A story"), LONG)) as first,
    ):
        await first.read(deltas=20)
        question = (await stored(slow, first.thread_id))[0]
        old = next(e["item"]["id"] for e in first.events if e["type"] == "thread.item.added")
        async with asking(here, retry(first.thread_id, question["id"])) as second:
            await second.read(deltas=10)
            await journalled(slow, second.turn_id, len(second.events))
            while_running = await loaded(there, first.thread_id)
            await second.read()
        afterwards = await loaded(there, first.thread_id)
    assert old not in ids(while_running)
    assert kinds(afterwards) == ["user_message", "assistant_message"]
    assert old not in ids(afterwards)


@WHERE
async def test_the_queue_of_messages_is_shown_as_far_as_it_was_heard(cluster: Cluster, where: int) -> None:
    """A message that interrupts stands behind the answer it interrupted."""
    async with (
        cluster.client(0).http as here,
        cluster.client(where).http as there,
        asking(here, create(unique("A story"), ENDLESS)) as first,
    ):
        await first.read(deltas=10)
        async with asking(there, add(first.thread_id, "Another one", ENDLESS)) as second:
            await second.read(deltas=10)
            await journalled(cluster, second.turn_id, len(second.events))
            views = [await loaded(http, first.thread_id) for http in (here, there)]
    for items in views:
        assert kinds(items) == ["user_message", "assistant_message"] * 2
        assert second.text.startswith(text_of(items[3])) or text_of(items[3]).startswith(second.text)
