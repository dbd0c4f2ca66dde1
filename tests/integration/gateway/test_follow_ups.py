"""Turns that go on from a client tool's output, from answers, or from an action."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.client import Client, Event, answers_of, errors_of, kinds_of, thread_id_of
from tests.cluster import Cluster, Reading, begin, more_gateways, resume
from tests.feeds import listening
from tests.scripted import call, hidden, questions, says, script, widget
from tests.turns import asking, ended, journalled, kinds, store_of, stored

AGENT = {"GATEWAY_AGENT": "tests.scripted:scripted", "TOOL_CHOICES": "search, paint"}


@pytest.fixture(scope="module")
def pair(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways whose agent can do everything."""
    with more_gateways(cluster, **AGENT) as one:
        yield one


@pytest.fixture
async def chat(pair: Cluster) -> AsyncIterator[Client]:
    async with pair.client(0).http as http:
        yield Client(http)


@pytest.fixture
async def elsewhere(pair: Cluster) -> AsyncIterator[Client]:
    """The same through the other gateway."""
    async with pair.client(1).http as http:
        yield Client(http)


ANSWER = ["stream_options", "thread.item.done assistant_message"]
ANSWER_TO_ANSWERS = ["stream_options", "thread.item.replaced", "thread.item.done assistant_message"]
NOT_WAITED_FOR = [[], [says("no call")], [call(), says("spoke on")], [call(status="completed")]]


async def begun_with(chat: Client, *steps: Any) -> str:
    """A thread whose first answer was this."""
    events = await chat.create(script(*steps))
    assert errors_of(events) == []
    return thread_id_of(events)


def body(kind: str, **params: Any) -> dict[str, Any]:
    return {"type": kind, "params": params}


def output(thread_id: str, result: Any = "seen") -> dict[str, Any]:
    return body("threads.add_client_tool_output", thread_id=thread_id, result=result)


def answers(thread_id: str, item_id: str, **submission: Any) -> dict[str, Any]:
    return body("threads.add_structured_input", thread_id=thread_id, item_id=item_id, input=submission)


def action(thread_id: str, item_id: str | None = None, payload: Any = None) -> dict[str, Any]:
    sender = {"item_id": item_id} if item_id else {}
    wanted = {"type": "press", "payload": payload}
    return body("threads.custom_action", thread_id=thread_id, action=wanted, **sender)


async def send(chat: Client, request: dict[str, Any]) -> list[Event]:
    return await chat.events(request["type"], **request["params"])


async def items_of(chat: Client, thread_id: str) -> list[dict[str, Any]]:
    return (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]


async def test_the_output_of_a_client_tool_goes_to_the_agent_and_into_the_thread(chat: Client) -> None:
    thread_id = await begun_with(chat, says("Let me see"), call())
    events = await send(chat, output(thread_id, {"seen": [1, "Ü\0"]}))
    assert kinds_of(events) == ANSWER
    assert 'look completed {"seen": [1, "' in answers_of(events)[0]
    items = await items_of(chat, thread_id)
    assert kinds(items)[1:] == ["assistant_message", "client_tool_call", "assistant_message"]
    assert (items[2]["status"], items[2]["output"]) == ("completed", {"seen": [1, "Ü\0"]})


async def test_a_conversation_may_take_several_client_tools_one_after_the_other(chat: Client) -> None:
    thread_id = await begun_with(chat, call("one"))
    assert 'one completed "1"' in answers_of(await send(chat, output(thread_id, "1")))[0]
    await chat.say(thread_id, script(call("two")))
    assert 'two completed "2"' in answers_of(await send(chat, output(thread_id, "2")))[0]


async def test_calls_that_nobody_answered_are_gone_once_another_is(chat: Client) -> None:
    thread_id = await begun_with(chat, call("lost"), call("found"))
    await chat.say(thread_id, "Never mind")
    await chat.say(thread_id, script(call("dangling"), hidden("between"), call("last"), hidden("behind")))
    events = await send(chat, output(thread_id))
    assert errors_of(events) == []
    calls = [item["name"] for item in await items_of(chat, thread_id) if item["type"] == "client_tool_call"]
    assert calls == ["last"]
    assert "dangling" not in answers_of(events)[0]


@pytest.mark.parametrize("steps", NOT_WAITED_FOR)
async def test_an_output_that_nothing_waits_for_is_a_clear_error(chat: Client, steps: list[Any]) -> None:
    thread_id = await begun_with(chat, *steps)
    before = await items_of(chat, thread_id)
    events = await send(chat, output(thread_id))
    assert kinds_of(events) == ["error"]
    assert (events[0]["allow_retry"], "waits for its output" in events[0]["message"]) == (False, True)
    strict = await chat.post(output(thread_id), Prefer="handling=strict")
    assert (strict.status_code, strict.json()["code"]) == (409, "no_pending_call")
    assert await items_of(chat, thread_id) == before


async def test_of_two_outputs_sent_at_once_one_is_taken(chat: Client, elsewhere: Client) -> None:
    thread_id = await begun_with(chat, call())
    both = await asyncio.gather(
        send(chat, output(thread_id, "here")), send(elsewhere, output(thread_id, "there"))
    )
    taken = [events for events in both if not errors_of(events)]
    assert [kinds_of(events) for events in both if errors_of(events)] == [["error"]]
    (call_item,) = [item for item in await items_of(chat, thread_id) if item["type"] == "client_tool_call"]
    assert f'look completed "{call_item["output"]}"' in answers_of(taken[0])[0]


@pytest.mark.parametrize("double_texting", ["interrupt", "reject"])
async def test_an_output_that_comes_before_the_turn_that_asked_has_ended_waits_for_it(
    chat: Client, pair: Cluster, double_texting: str
) -> None:
    """It does not interrupt that turn, on whichever gateway it comes, and is not rejected because of it."""
    with more_gateways(pair, 1, DOUBLE_TEXTING=double_texting, **AGENT) as other:
        async with other.client(0).http as elsewhere:
            await _output_waits(chat, Client(elsewhere), pair)
            await _output_waits(Client(elsewhere), Client(elsewhere), pair)


async def _output_waits(asker: Client, answerer: Client, pair: Cluster) -> None:
    text = script(call(), 0.6, says("That was it"), call("next"))
    async with asking(asker.http, _create(text)) as answer:
        await answer.read(events=3)
        waiting = asyncio.create_task(send(answerer, output(answer.thread_id)))
        await answer.read()
    assert errors_of(await waiting) == []
    assert (await ended(pair, answer.turn_id))["state"] == "completed"
    items = await stored(pair, answer.thread_id)
    assert kinds(items) == ["user_message", "assistant_message", "client_tool_call", "assistant_message"]


def _create(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return body("threads.create", input={"content": content, "attachments": [], "inference_options": {}})


async def test_answers_are_told_then_the_agent_goes_on(chat: Client, pair: Cluster) -> None:
    thread_id = await begun_with(chat, questions(), hidden("why I ask"))
    item = (await items_of(chat, thread_id))[1]
    chosen = {
        "one": {"values": ["red", "blue"]},
        "many": {"values": ["red", "own"]},
        "what": {"values": ["?"]},
    }
    events = await send(chat, answers(thread_id, item["id"], status="answered", answers=chosen))
    assert kinds_of(events) == [
        "stream_options",
        "thread.item.replaced",
        "thread.item.done assistant_message",
    ]
    answered = events[1]["item"]
    assert (answered["id"], answered["status"]) == (item["id"], "answered")
    assert [question["answer"] for question in answered["inputs"]] == [
        {"values": ["red"], "skipped": False},
        {"values": ["red", "own"], "skipped": False},
        {"values": [], "skipped": True},
    ]
    assert "questions answered" in answers_of(events)[0]
    assert answered in await items_of(chat, thread_id)


async def test_skipped_questions_are_told_as_skipped(chat: Client) -> None:
    thread_id = await begun_with(chat, questions())
    item = (await items_of(chat, thread_id))[1]
    events = await send(chat, answers(thread_id, item["id"], status="skipped"))
    assert events[1]["item"]["status"] == "skipped"
    assert all(question["answer"]["skipped"] for question in events[1]["item"]["inputs"])


async def test_answers_that_do_not_fit_are_clear_errors(chat: Client) -> None:
    thread_id = await begun_with(chat, questions())
    other_thread = await begun_with(chat, questions(), says("x"))
    item_id, (foreign, said) = (
        (await items_of(chat, thread_id))[1]["id"],
        (await items_of(chat, other_thread))[1:3],
    )
    await send(chat, answers(thread_id, item_id))
    cases = [
        (item_id, 409, "not_pending"),
        (foreign["id"], 404, "not_found"),
        ("msg_gone", 404, "not_found"),
    ]
    for wanted, status, code in cases:
        events = await send(chat, answers(thread_id, wanted))
        assert (kinds_of(events), events[0]["allow_retry"]) == (["error"], False)
        strict = await chat.post(answers(thread_id, wanted), Prefer="handling=strict")
        assert (strict.status_code, strict.json()["code"]) == (status, code)
    strict = await chat.post(answers(other_thread, said["id"]), Prefer="handling=strict")
    assert (strict.status_code, strict.json()["code"]) == (400, "invalid_request")
    assert (await items_of(chat, other_thread))[1]["status"] == "pending"


async def test_an_action_reaches_the_agent_with_its_widget_or_without(chat: Client) -> None:
    thread_id = await begun_with(chat, widget())
    item = (await items_of(chat, thread_id))[1]
    events = await send(chat, action(thread_id, item["id"], {"n": [1, None, "\0"]}))
    assert kinds_of(events) == ANSWER
    assert answers_of(events) == ['Card asks for press: {"n": [1, null, "\\u0000"]}']
    assert answers_of(await send(chat, action(thread_id))) == ["the page asks for press: null"]


async def test_an_action_may_replace_its_widget_where_it_stands(chat: Client, elsewhere: Client) -> None:
    thread_id = await begun_with(chat, widget("before"), says("after it"))
    item = (await items_of(chat, thread_id))[1]
    changed = {**item, "copy_text": "changed"}
    replaced = {"type": "thread.item.replaced", "item": changed}
    request = action(thread_id, item["id"], [replaced, says("Done"), 1.5])
    async with asking(chat.http, request) as answer:
        await answer.read(events=3)
        for client in (chat, elsewhere):
            async with asyncio.timeout(10):
                while (seen := await items_of(client, thread_id))[1] != changed:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            newest = (await client.call("items.list", thread_id=thread_id, limit=1))["data"]
            assert kinds(seen) == ["user_message", "widget", "assistant_message", "assistant_message"]
            assert changed not in newest
        await answer.read()
    items = await items_of(chat, thread_id)
    assert kinds(items) == ["user_message", "widget", "assistant_message", "assistant_message"]
    assert items[1] == changed


async def test_a_wrong_sender_gets_the_answer_of_the_reference(chat: Client) -> None:
    thread_id = await begun_with(chat, says("no widget"))
    message_id = (await items_of(chat, thread_id))[1]["id"]
    events = await send(chat, action(thread_id, message_id))
    assert events == [{"type": "error", "code": "stream.error", "allow_retry": False}]
    strict = await chat.post(action(thread_id, message_id), Prefer="handling=strict")
    assert (strict.status_code, strict.json()["code"]) == (400, "wrong_sender")


async def test_an_action_on_an_item_that_is_not_there_is_a_clear_error(chat: Client) -> None:
    """Unknown, or of another thread: the two look the same."""
    thread_id, other = await begun_with(chat, widget()), await begun_with(chat, widget())
    foreign = (await items_of(chat, other))[1]["id"]
    for item_id in ("msg_gone", foreign):
        events = await send(chat, action(thread_id, item_id))
        message = "There is no such item in the thread"
        assert events == [{"type": "error", "code": "custom", "message": message, "allow_retry": False}]
    assert kinds_of(await send(chat, action("thr_gone"))) == ["error"]


async def test_an_agent_without_actions_says_so(cluster: Cluster) -> None:
    with more_gateways(cluster, 1, GATEWAY_AGENT="tests.scripted:plain") as one:
        async with one.client(0).http as http:
            chat = Client(http)
            thread_id = await begun_with(chat, widget())
            events = await send(chat, action(thread_id, (await items_of(chat, thread_id))[1]["id"]))
            assert (kinds_of(events), events[0]["message"]) == (["error"], "This server handles no actions.")
            strict = await chat.post(action(thread_id), Prefer="handling=strict")
            assert (strict.status_code, strict.json()["field"]) == (400, "type")
            for kind in ("threads.sync_custom_action", "input.transcribe"):
                params = {
                    "threads.sync_custom_action": {"thread_id": thread_id, "action": {"type": "x"}},
                    "input.transcribe": {"audio_base64": "YQ==", "mime_type": "audio/webm"},
                }[kind]
                refused = await chat.post(body(kind, **params))
                assert (refused.status_code, refused.json()["field"]) == (400, "type")
            said = (await items_of(chat, thread_id))[1]["id"]
            await chat.call("items.feedback", thread_id=thread_id, item_ids=[said], kind="positive")


@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_locked_and_closed_threads_take_nothing_but_actions(
    chat: Client, pair: Cluster, status: str
) -> None:
    thread_id = await begun_with(chat, widget(), questions(), call())
    items = await items_of(chat, thread_id)
    async with store_of(pair.store) as store:
        change = {"status": {"type": status, "reason": "enough"}}
        (await store.patch(f"/v1/threads/{thread_id}", json=change)).raise_for_status()
    refused = [
        output(thread_id),
        answers(thread_id, items[2]["id"]),
        body("threads.retry_after_item", thread_id=thread_id, item_id=items[0]["id"]),
        body("threads.add_user_message", thread_id=thread_id, input=_create("Hello")["params"]["input"]),
    ]
    for request in refused:
        events = await send(chat, request)
        assert (kinds_of(events), f"thread is {status}" in events[0]["message"]) == (["error"], True)
        strict = await chat.post(request, Prefer="handling=strict")
        assert (strict.status_code, strict.json()["code"]) == (409, f"thread_{status}")
    assert await items_of(chat, thread_id) == items
    assert len(answers_of(await send(chat, action(thread_id, items[1]["id"])))) == 1


async def test_nobody_reaches_the_threads_of_others(chat: Client, pair: Cluster) -> None:
    """Without other users here: what another owner has looks like what is not there."""
    async with store_of(pair.store, "someone-else") as store:
        made = await store.post("/v1/threads", json={"id": "thr_others"})
        assert made.status_code in {201, 409}
    for request in (output("thr_others"), answers("thr_others", "msg_x"), action("thr_others")):
        strict = await chat.post(request, Prefer="handling=strict")
        assert (strict.status_code, strict.json()["code"]) == (404, "not_found")


TOOL_CHOICE = "params.input.inference_options.tool_choice"


async def test_a_tool_is_chosen_among_those_on_offer(chat: Client) -> None:
    def choosing(tool: str) -> dict[str, Any]:
        request = _create("Hello")
        request["params"]["input"]["inference_options"] = {"tool_choice": {"id": tool}}
        return request

    events = await send(chat, choosing("paint"))
    assert answers_of(events)[0] == "I shall use paint"
    refused = await chat.post(choosing("delete_all"))
    assert (refused.status_code, refused.json()["field"]) == (
        400,
        "params.input.inference_options.tool_choice",
    )
    assert "delete_all" in refused.json()["message"]


async def test_without_any_on_offer_no_tool_can_be_chosen(client: Client) -> None:
    options = {"tool_choice": {"id": "search"}}
    request = _create("Hello")
    request["params"]["input"]["inference_options"] = options
    refused = await client.post(request)
    assert (refused.status_code, refused.json()["field"]) == (
        400,
        "params.input.inference_options.tool_choice",
    )


HUGE = b"123456789012345678901234567890"


async def test_numbers_of_any_size_are_kept(chat: Client) -> None:
    thread_id = await begun_with(chat, call(arguments={"n": int(HUGE)}))
    content = json.dumps(output(thread_id, int(HUGE)))
    response = await chat.post(content)
    assert response.status_code == 200
    assert b"look completed %b" % HUGE in response.content
    items = (await chat.post(body("items.list", thread_id=thread_id))).content
    assert items.count(HUGE) == 4, "the message, the arguments, the output, and the answer"


STEPS = {
    "output": (call(), lambda thread_id, _: output(thread_id)),
    "answers": (questions(), answers),
    "action": (widget(), action),
}

EACH = pytest.mark.parametrize("kind", STEPS)


async def asked(chat: Client, kind: str) -> tuple[str, dict[str, Any]]:
    """A thread, and a request that goes on in it."""
    step, request = STEPS[kind]
    thread_id = await begun_with(chat, step)
    return thread_id, request(thread_id, (await items_of(chat, thread_id))[1]["id"])


@EACH
async def test_a_repeat_with_its_key_gets_the_same_answer(chat: Client, elsewhere: Client, kind: str) -> None:
    thread_id, request = await asked(chat, kind)
    key = {"Idempotency-Key": f"key-{thread_id}"}
    first_answer = await chat.post(request, **key)
    for client in (chat, elsewhere):
        again = await client.post(request, **key)
        assert again.headers["chatkit-turn-id"] == first_answer.headers["chatkit-turn-id"]
    assert len(await items_of(chat, thread_id)) == 3


@EACH
async def test_a_turn_can_be_resumed_on_another_gateway(
    chat: Client, elsewhere: Client, pair: Cluster, kind: str
) -> None:
    """While it runs, and when its journal has expired."""
    thread_id, request = await asked(chat, kind)
    reading = Reading()
    assert not await begin(chat.http, request, reading, events=1)
    while not await resume(elsewhere.http, reading):
        pass
    reading.check()
    expected = ["stream_options", *(["thread.item.replaced"] if kind == "answers" else [])]
    assert kinds_of(reading.events) == [*expected, "thread.item.done assistant_message"]
    async with store_of(pair.store) as store:
        result = (await store.get(f"/v1/turns/{reading.turn_id}/items")).json()
    assert kinds(result["items"]) == [
        *(["structured_input"] if kind == "answers" else []),
        "assistant_message",
    ]
    assert result["items"][0] == reading.events[-2 if kind == "answers" else -1]["item"]
    assert thread_id == result["thread"]["id"]


@EACH
async def test_other_tabs_see_what_becomes_of_it(chat: Client, elsewhere: Client, kind: str) -> None:
    """What the turn's own stream does not tell, because the client that asks knows it, comes before it."""
    thread_id, _ = await asked(chat, kind)
    item_id = (await items_of(chat, thread_id))[1]["id"]
    async with listening(elsewhere.http, f"/chatkit/threads/{thread_id}/events") as tab:
        await tab.until(lambda now: bool(now.cursor))
        events = await send(chat, carrying(kind, thread_id, item_id, [says("One"), 0.3, says("Two")]))
        await tab.until(lambda now: len(now.of_thread(thread_id)) >= len(events) + (kind == "output"))
    assert tab.turns_in(thread_id) == [events]
    first = tab.of_thread(thread_id)[0]
    assert tab.kinds(thread_id) == (["thread.item.replaced"] if kind == "output" else [])
    if kind == "output":
        assert (first["type"], first["item"]["status"]) == ("thread.item.replaced", "completed")


LEASE_S = 3.0
PATIENCE_S = LEASE_S + 25
"""Within which a turn of a dead gateway has ended, on a machine that is busy with other things."""


@pytest.fixture(scope="module")
def mortals(cluster: Cluster) -> Iterator[Cluster]:
    """Two gateways that are killed and started again."""
    with more_gateways(cluster, LEASE_S=str(LEASE_S), **AGENT) as one:
        yield one


def carrying(kind: str, thread_id: str, item_id: str, steps: list[Any]) -> dict[str, Any]:
    """A request that has the agent do this."""
    match kind:
        case "output":
            return output(thread_id, steps)
        case "answers":
            return answers(thread_id, item_id, answers={"free": {"values": [script(*steps)]}})
        case _:
            return action(thread_id, item_id, steps)


@EACH
async def test_what_a_turn_had_said_is_kept_when_its_gateway_dies(mortals: Cluster, kind: str) -> None:
    async with mortals.client(0).http as here, mortals.client(1).http as there:
        thread_id = await begun_with(Client(here), STEPS[kind][0])
        item_id = (await items_of(Client(here), thread_id))[1]["id"]
        request = carrying(kind, thread_id, item_id, [hidden("done it"), says("First"), 60])
        events = 3 if kind == "answers" else 2
        reading = Reading()
        await begin(here, request, reading, events=events)
        await journalled(mortals, reading.turn_id, events)
        async with asyncio.timeout(15):
            while "hidden_context_item" not in str(await stored(mortals, thread_id)):  # noqa: ASYNC110 (its store)
                await asyncio.sleep(0.02)
        mortals.gateways[0].kill()
        try:
            record = await ended(mortals, reading.turn_id, within_s=PATIENCE_S)
            await resume(there, reading)
            after = await stored(mortals, thread_id)
            assert answers_of(await Client(there).say(thread_id, "Still there?")) == ["Still there?"]
        finally:
            mortals.gateways[0].start()
    reading.check()
    assert record["state"] == "interrupted"
    assert kinds_of(reading.events)[-2:] == ["thread.item.done assistant_message", "error"]
    assert errors_of(reading.events)[0]["allow_retry"] is True
    assert kinds_of(reading.events).count("thread.item.replaced") == (kind == "answers")
    asker = STEPS[kind][0]["item"]["type"]
    assert kinds(after) == ["user_message", asker, "hidden_context_item", "assistant_message"]
    assert after[1].get("status") == {"output": "completed", "answers": "answered", "action": None}[kind]


@EACH
async def test_a_turn_that_nobody_heard_of_is_ended_and_can_be_read(mortals: Cluster, kind: str) -> None:
    """Its gateway died as soon as the store had opened it."""
    async with mortals.client(0).http as here:
        chat = Client(here)
        thread_id = await begun_with(chat, STEPS[kind][0])
        item_id = (await items_of(chat, thread_id))[1]["id"]
        inputs = {
            "output": {"type": "add_client_tool_output", "result": "seen"},
            "answers": {"type": "add_structured_input", "item_id": item_id, "submission": {}},
            "action": {"type": "handle_action", "item_id": item_id},
        }
        turn_id = f"trn_{thread_id[4:]}"
        wanted = {"turn_id": turn_id, "thread_id": thread_id, "input": inputs[kind], "gateway_id": "gw_lost"}
        async with store_of(mortals.store) as store:
            (await store.post("/v1/turns", json=wanted)).raise_for_status()
        assert (await ended(mortals, turn_id, within_s=PATIENCE_S))["state"] == "interrupted"
        reading = Reading(turn_id=turn_id)
        await resume(here, reading)
    told = ["stream_options", *(["thread.item.replaced"] if kind == "answers" else []), "error"]
    assert kinds_of(reading.events) == told
