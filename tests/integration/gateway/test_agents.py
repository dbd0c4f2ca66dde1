"""An agent is anyone's code: whatever it does, its turn ends well, and no other turn notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.client import Client, answers_of, errors_of, kinds_of, text_of, thread_id_of
from tests.processes import Service, running
from tests.stack import Stack, gateway_service


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Service]:
    settings = {"GATEWAY_AGENT": "tests.agents:awkward", "SILENCE_TIMEOUT_S": "0.5", "SHUTDOWN_GRACE_S": "1"}
    with running(gateway_service(stack.store, stack.model, **settings)) as gateway:
        yield gateway


@pytest.fixture
async def chat(gateway: Service) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield Client(http)


async def answers(chat: Client, thread_id: str) -> list[str]:
    items = (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]
    return [text_of(item) for item in items if item["type"] == "assistant_message"]


@pytest.mark.parametrize(
    "word", ["raise", "panic", "refuse", "surrogate", "deaf", "stone deaf", "desert", "no json", "long title"]
)
async def test_what_was_said_is_kept_when_the_agent_breaks(chat: Client, word: str) -> None:
    events = await chat.create(word)
    assert len(errors_of(events)) == 1
    assert answers_of(events) == ["as far as it got"]
    assert await answers(chat, thread_id_of(events)) == ["as far as it got"]


async def test_a_bug_shows_nothing_of_the_inside_but_is_in_the_log(chat: Client, gateway: Service) -> None:
    events = await chat.create("raise")
    assert errors_of(events) == [{"type": "error", "code": "stream.error", "allow_retry": True}]
    assert "secret internals" in gateway.log()


async def test_an_agent_can_tell_the_user_why_it_does_not_go_on(chat: Client) -> None:
    error = errors_of(await chat.create("refuse"))[0]
    assert error == {"type": "error", "code": "custom", "message": "Not today.", "allow_retry": False}


async def test_hidden_items_are_stored_and_not_sent(chat: Client, stack: Stack) -> None:
    events = await chat.create("hidden")
    assert "hidden_context_item" not in str(events)
    headers = {"authorization": f"Bearer {stack.store_token}", "bobbin-owner": "local"}
    async with httpx.AsyncClient(base_url=stack.store.url, headers=headers, timeout=30) as http:
        page = await http.get(f"/v1/threads/{thread_id_of(events)}/items", params={"hidden": "true"})
    assert "hidden_context_item" in {item["type"] for item in page.json()["data"]}


async def test_an_agent_can_take_back_or_replace_what_it_said(chat: Client) -> None:
    removed = await chat.create("remove")
    assert await answers(chat, thread_id_of(removed)) == []
    replaced = await chat.create("replace")
    assert await answers(chat, thread_id_of(replaced)) == ["something else"]


async def test_an_agent_can_name_and_lock_the_thread_and_the_lock_holds(chat: Client) -> None:
    events = await chat.create("lock")
    updated = next(event["thread"] for event in events if event["type"] == "thread.updated")
    assert updated["title"] == "Locked"
    assert updated["status"] == {"type": "locked", "reason": "enough"}
    assert updated["metadata"] == {}
    assert kinds_of(events).count("thread.updated") == 1

    refused = await chat.say(thread_id_of(events), "Anyone there?")
    assert kinds_of(refused) == ["error"]
    assert refused[0]["allow_retry"] is False
    thread = await chat.call("threads.get_by_id", thread_id=thread_id_of(events))
    assert len(thread["items"]["data"]) == 2


async def test_after_all_of_this_others_are_answered(chat: Client) -> None:
    for word in ("raise", "surrogate", "deaf", "no json"):
        await chat.create(word)
    assert answers_of(await chat.create("Hello")) == ["as far as it got"]
