"""JSON requests that the agent has to do with: actions without a stream, feedback, dictation."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from chatkit.types import SyncCustomActionResponse, TranscriptionResult

from tests.client import Client, thread_id_of
from tests.cluster import Cluster, more_gateways
from tests.scripted import hidden, says, script, widget
from tests.turns import ask, asking, create, store_of, stored


@pytest.fixture(scope="module")
def one(cluster: Cluster) -> Iterator[Cluster]:
    """A gateway whose agent can do everything."""
    settings = {"GATEWAY_AGENT": "tests.scripted:scripted", "TURN_TIMEOUT_S": "7"}
    with more_gateways(cluster, 1, **settings) as gateway:
        yield gateway


@pytest.fixture
async def chat(one: Cluster) -> AsyncIterator[Client]:
    async with one.client(0).http as http:
        yield Client(http)


async def shown(chat: Client) -> tuple[str, dict[str, Any]]:
    """A thread with a widget."""
    thread_id = thread_id_of(await chat.create(script(widget(), says("after it"))))
    return thread_id, (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"][1]


def params(thread_id: str, kind: str = "press", payload: Any = None, item_id: str | None = None) -> Any:
    sender = {} if item_id is None else {"item_id": item_id}
    return {"thread_id": thread_id, "action": {"type": kind, "payload": payload}, **sender}


async def refused(chat: Client, kind: str, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    response = await chat.post({"type": kind, "params": wanted})
    return response.status_code, response.json()


ACT = "threads.sync_custom_action"


async def test_an_action_changes_its_widget_at_once_and_for_everyone(chat: Client, one: Cluster) -> None:
    thread_id, item = await shown(chat)
    answer = await chat.call(ACT, **params(thread_id, payload={"n": 1}, item_id=item["id"]))
    SyncCustomActionResponse.model_validate(answer)
    assert answer == {"updated_item": {**item, "copy_text": '{"n": 1}'}}
    assert (await stored(one, thread_id))[1] == answer["updated_item"]
    async with store_of(one.store) as store:
        wanted = {"changes": [{"owner_id": "local", "thread_id": thread_id}]}
        position = (await store.post("/v1/watch", json=wanted)).json()["changes"][0]["position"]
        wanted["changes"][0]["after"] = position
        await chat.call(ACT, **params(thread_id, payload="again", item_id=item["id"]))
        changes = (await store.post("/v1/watch", json=wanted)).json()["changes"][0]["changes"]
    assert len(changes) == 1
    assert b'"thread.item.replaced"' in base64.b64decode(changes[0]["event"])


async def test_the_page_may_act_without_a_widget(chat: Client) -> None:
    thread_id, _ = await shown(chat)
    assert await chat.call(ACT, **params(thread_id)) == {}


async def test_an_action_is_answered_while_a_turn_runs_and_locked_threads_take_it(
    chat: Client, one: Cluster
) -> None:
    thread_id, item = await shown(chat)
    text = script(says("a"), 1.5, says("b"))
    request = create(text, "any")
    request["type"] = "threads.add_user_message"
    request["params"]["thread_id"] = thread_id
    async with asking(chat.http, request) as answer:
        await answer.read(events=3)
        reaction = await chat.call(ACT, **params(thread_id, payload=1, item_id=item["id"]))
        assert reaction["updated_item"]["copy_text"] == "1"
        before = len(answer.events)
        await answer.read()
        assert before < len(answer.events)
    async with store_of(one.store) as store:
        await store.patch(f"/v1/threads/{thread_id}", json={"status": {"type": "closed"}})
    assert (await chat.call(ACT, **params(thread_id, payload=2, item_id=item["id"])))["updated_item"]
    assert (await stored(one, thread_id))[1]["copy_text"] == "2"


async def test_what_the_agent_makes_of_the_thread_is_stored(chat: Client) -> None:
    thread_id, _ = await shown(chat)
    await chat.call(ACT, **params(thread_id, "rename", "By a button"))
    await chat.call(ACT, **params(thread_id, "close", "That was it"))
    thread = await chat.call("threads.get_by_id", thread_id=thread_id)
    assert (thread["title"], thread["status"]) == (
        "By a button",
        {"type": "closed", "reason": "That was it"},
    )


async def test_bad_senders_and_threads_are_clear_errors(chat: Client) -> None:
    thread_id, _ = await shown(chat)
    _, foreign = await shown(chat)
    said = (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"][2]["id"]
    status, problem = await refused(chat, ACT, params(thread_id, item_id=said))
    assert (status, problem["code"], problem["field"]) == (400, "invalid_request", "params.item_id")
    for wanted in (
        params(thread_id, item_id=foreign["id"]),
        params(thread_id, item_id="msg_gone"),
        params("thr_x"),
    ):
        status, problem = await refused(chat, ACT, wanted)
        assert (status, problem["code"]) == (404, "not_found")
    status, problem = await refused(chat, ACT, {"thread_id": thread_id, "action": {}})
    assert (status, problem["field"]) == (400, "params.action.type")


async def test_an_agent_says_why_it_does_not_act_and_its_bugs_say_nothing(chat: Client, one: Cluster) -> None:
    thread_id, item = await shown(chat)
    status, problem = await refused(chat, ACT, params(thread_id, "refuse", item_id=item["id"]))
    assert (status, problem["code"], problem["message"]) == (422, "agent_failed", "Not today.")
    status, problem = await refused(chat, ACT, params(thread_id, "break"))
    assert (status, problem["code"], "secret" in str(problem)) == (500, "internal", False)
    assert "secret internals" in one.gateways[0].log()
    status, problem = await refused(chat, ACT, params(thread_id, "rename", "x" * 501))
    assert (status, problem["code"]) == (500, "internal")
    assert (await stored(one, thread_id))[1] == item


async def test_an_agent_that_hangs_is_given_up(chat: Client) -> None:
    thread_id, _ = await shown(chat)
    async with asyncio.timeout(20):
        status, problem = await refused(chat, ACT, params(thread_id, "hang"))
    assert (status, problem["code"]) == (422, "agent_failed")
    assert "too long" in problem["message"]


async def test_feedback_is_stored_and_told_to_the_agent_whose_failure_is_its_own(
    chat: Client, one: Cluster
) -> None:
    thread_id, item = await shown(chat)
    for kind in ("positive", "negative"):
        answer = await chat.call("items.feedback", thread_id=thread_id, item_ids=[item["id"]], kind=kind)
        assert answer == {}
        async with store_of(one.store) as store:
            noted = (await store.get(f"/v1/threads/{thread_id}/feedback")).json()
        assert [(one["item_id"], one["kind"]) for one in noted] == [(item["id"], kind)]
    log = [line for line in one.gateways[0].log().splitlines() if thread_id in line]
    assert ["positive" in line for line in log if item["id"] in line][:2] == [True, False]
    assert any("cannot note feedback" in line for line in log)
    status, _ = await refused(
        chat, "items.feedback", {"thread_id": thread_id, "item_ids": ["msg_gone"], "kind": "positive"}
    )
    assert status == 404
    assert not any("msg_gone" in line for line in one.gateways[0].log().splitlines())


def recording(data: bytes, mime_type: str = "audio/webm;codecs=opus") -> dict[str, Any]:
    return {"audio_base64": base64.b64encode(data).decode(), "mime_type": mime_type}


async def test_speech_is_written_down(chat: Client) -> None:
    answer = await chat.call("input.transcribe", **recording(b"good day"))
    TranscriptionResult.model_validate(answer)
    assert answer == {"text": "good day as audio/webm from local"}


@pytest.mark.parametrize("audio", ["", "no base64!", "YQ", "Y Q=="])
async def test_a_recording_that_is_none_is_a_clear_error(chat: Client, audio: str) -> None:
    wanted = {"audio_base64": audio, "mime_type": "audio/webm"}
    status, problem = await refused(chat, "input.transcribe", wanted)
    assert (status, problem["code"], problem["field"]) == (400, "invalid_request", "params.audio_base64")


async def test_an_agent_says_why_it_cannot_write_it_down(chat: Client) -> None:
    status, problem = await refused(chat, "input.transcribe", recording(b"noise"))
    assert (status, problem["message"]) == (422, "Nothing could be made out.")
    status, problem = await refused(chat, "input.transcribe", recording(b"\xff\xfe"))
    assert (status, problem["code"]) == (500, "internal")


async def test_hidden_items_are_stored_while_their_turn_runs(chat: Client, one: Cluster) -> None:
    """Before its end, in the background; and stand in their place among the others afterwards."""
    effects = [hidden(1), hidden(2)]
    text = script(says("before"), effects[0], 4.0, says("between"), effects[1], says("after"))
    async with asking(chat.http, create(text, "any")) as answer:
        await answer.read(events=4)
        async with asyncio.timeout(4):
            while "hidden_context_item" not in str(seen := await stored(one, answer.thread_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert [item["type"] for item in seen] == ["user_message", "hidden_context_item"]
        shown_items = await chat.call("items.list", thread_id=answer.thread_id, order="asc")
        assert [item["type"] for item in shown_items["data"]] == ["user_message", "assistant_message"]
        await answer.read()
    items = await stored(one, answer.thread_id)
    assert [item.get("content") if item["type"].startswith("h") else item["type"] for item in items] == [
        "user_message",
        "assistant_message",
        1,
        "assistant_message",
        2,
        "assistant_message",
    ]


async def test_hidden_items_count_as_output(cluster: Cluster) -> None:
    settings = {"GATEWAY_AGENT": "tests.scripted:scripted", "MAX_OUTPUT_BYTES": "20000"}
    effects = [hidden("x" * 15_000), hidden("y" * 15_000)]
    with more_gateways(cluster, 1, **settings) as small:
        async with small.client(0).http as http:
            answer = await ask(http, create(script(*effects), "any"))
    assert [event["message"] for event in answer.events if event["type"] == "error"] == [
        "The answer grew too large and was stopped."
    ]
