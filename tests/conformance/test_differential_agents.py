"""The reference server and our gateway get the same requests and the same agent: what do they answer?

The agent is that of `tests.scripted`: what is compared is all that servers do around an agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import message, thread_id_of
from tests.differential import Difference, Driver, Pair, Scenario, kinds_in, running_pair, traces
from tests.scripted import call, hidden, questions, says, script, widget


async def begun_with(server: Driver, *steps: Any) -> tuple[str, list[str]]:
    """A thread whose first answer was this, and the ids of what can be seen of it."""
    events = await server.stream("threads.create", input=message(script(*steps)))
    items = [event["item"]["id"] for event in events if event["type"] == "thread.item.done"]
    return thread_id_of(events), items[1:]


async def listed(server: Driver, thread_id: str) -> None:
    await server.call("items.list", thread_id=thread_id, order="asc")


async def output(server: Driver, thread_id: str, result: Any) -> None:
    await server.stream("threads.add_client_tool_output", thread_id=thread_id, result=result)


async def answers(server: Driver, thread_id: str, item_id: str, **submission: Any) -> None:
    await server.stream(
        "threads.add_structured_input", thread_id=thread_id, item_id=item_id, input=submission
    )


async def action(server: Driver, thread_id: str, item_id: str | None = None, payload: Any = None) -> None:
    sender = {"item_id": item_id} if item_id else {}
    wanted = {"type": "press", "payload": payload}
    await server.stream("threads.custom_action", thread_id=thread_id, action=wanted, **sender)


async def client_tool(server: Driver) -> None:
    thread_id, _ = await begun_with(server, says("Let me see"), call())
    await output(server, thread_id, {"seen": [1, "two"]})
    await listed(server, thread_id)
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message(script(call("again"))))
    await output(server, thread_id, "")
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("Thanks"))
    await listed(server, thread_id)


async def client_tool_without_result(server: Driver) -> None:
    thread_id, _ = await begun_with(server, call())
    await output(server, thread_id, None)
    await listed(server, thread_id)


async def dangling_calls(server: Driver) -> None:
    thread_id, _ = await begun_with(
        server, call("lost"), says("x"), call("done", status="completed"), call("last")
    )
    await output(server, thread_id, 7)
    await listed(server, thread_id)


async def dangling_calls_of_earlier_turns(server: Driver) -> None:
    thread_id, _ = await begun_with(server, call("lost"))
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("Never mind"))
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message(script(call("found"))))
    await output(server, thread_id, [])
    await listed(server, thread_id)


async def answered_questions(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, questions())
    given = {
        "one": {"values": ["red", "blue"]},
        "many": {"values": ["blue", "own"]},
        "free": {"values": ["so"]},
    }
    await answers(server, thread_id, item_id, status="answered", answers=given)
    await listed(server, thread_id)


async def partly_answered_questions(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, questions())
    given = {"one": {"values": []}, "many": {"values": ["x"], "skipped": True}, "unknown": {"values": ["?"]}}
    await answers(server, thread_id, item_id, answers=given)
    await listed(server, thread_id)


async def skipped_questions(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, questions())
    await answers(server, thread_id, item_id, status="skipped", answers={"free": {"values": ["so"]}})
    await listed(server, thread_id)


async def custom_action(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, widget())
    await action(server, thread_id, item_id, {"n": [1, {"two": True}]})
    await action(server, thread_id)
    await listed(server, thread_id)


async def action_that_replaces_its_widget(server: Driver) -> None:
    thread_id, [item_id, _] = await begun_with(server, widget("before"), says("behind"))
    changed = widget("after")["item"] | {"id": item_id}
    await action(
        server, thread_id, item_id, [{"type": "thread.item.replaced", "item": changed}, says("Done")]
    )


async def wrong_sender(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, says("no widget"))
    await action(server, thread_id, item_id)
    await listed(server, thread_id)


async def sync_action(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, widget())
    wanted = {"type": "press", "payload": {"n": 1}}
    kind = "threads.sync_custom_action"
    await server.call(kind, thread_id=thread_id, item_id=item_id, action=wanted)
    await server.call(kind, thread_id=thread_id, action={"type": "press"})


async def thread_status(server: Driver) -> None:
    for status in ({"type": "locked", "reason": "wait"}, {"type": "closed"}):
        thread_id, _ = await begun_with(server, says("Goodbye"), {"status": status})
        await server.call("threads.get_by_id", thread_id=thread_id)
    await server.call("threads.list")


async def hidden_context(server: Driver) -> None:
    thread_id, _ = await begun_with(server, says("a"), hidden({"secret": 1}), says("b"))
    await listed(server, thread_id)
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("And?"))


async def passing_events(server: Driver) -> None:
    await begun_with(
        server,
        {"type": "progress_update", "text": "Working", "icon": "search"},
        {"type": "client_effect", "name": "open", "data": {"id": 1}},
        {"type": "notice", "level": "warning", "message": "Careful", "title": "Oh"},
        says("Done"),
    )


SAME = [
    client_tool,
    client_tool_without_result,
    dangling_calls,
    dangling_calls_of_earlier_turns,
    answered_questions,
    partly_answered_questions,
    skipped_questions,
    custom_action,
    action_that_replaces_its_widget,
    wrong_sender,
    sync_action,
    thread_status,
    hidden_context,
    passing_events,
]


async def output_without_a_call(server: Driver) -> None:
    thread_id, _ = await begun_with(server, says("no call"))
    await output(server, thread_id, 1)


async def output_behind_hidden_context(server: Driver) -> None:
    thread_id, _ = await begun_with(server, call(), hidden("why"))
    await output(server, thread_id, 1)


async def questions_answered_twice(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, questions())
    await answers(server, thread_id, item_id)
    await answers(server, thread_id, item_id)


async def answers_to_no_questions(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, says("no questions"))
    await answers(server, thread_id, item_id)
    await answers(server, thread_id, "msg_gone")


async def action_of_an_unknown_item(server: Driver) -> None:
    thread_id, _ = await begun_with(server, says("no widget"))
    await action(server, thread_id, "msg_gone")


async def wrong_sender_of_a_sync_action(server: Driver) -> None:
    thread_id, [item_id] = await begun_with(server, says("no widget"))
    wanted = {"type": "press"}
    await server.call("threads.sync_custom_action", thread_id=thread_id, item_id=item_id, action=wanted)


async def message_to_a_locked_thread(server: Driver) -> None:
    thread_id, _ = await begun_with(server, call(), {"status": {"type": "locked"}})
    await output(server, thread_id, 1)
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("Hello?"))
    await action(server, thread_id)


OPENING = ["thread.created", "thread.item.done user_message", "stream_options"]
SAID = "thread.item.done assistant_message"
TITLE = "thread.updated"

DIFFERENCES = [
    Difference(
        output_without_a_call,
        "The reference breaks off, which chatkit.js repeats; we say what is wrong.",
        theirs=[[*OPENING, SAID, TITLE], "broken off"],
        ours=[[*OPENING, SAID, TITLE], ["error"]],
    ),
    Difference(
        output_behind_hidden_context,
        "For the reference a hidden item is the last of its thread, and the call lost; no client sees such.",
        theirs=[[*OPENING, "thread.item.done client_tool_call", TITLE], "broken off"],
        ours=[[*OPENING, "thread.item.done client_tool_call", TITLE], ["stream_options", SAID]],
    ),
    Difference(
        questions_answered_twice,
        "The reference breaks off, which chatkit.js repeats; we say what is wrong.",
        theirs=[
            [*OPENING, "thread.item.done structured_input", TITLE],
            ["stream_options", "thread.item.replaced", SAID],
            "broken off",
        ],
        ours=[
            [*OPENING, "thread.item.done structured_input", TITLE],
            ["stream_options", "thread.item.replaced", SAID],
            ["error"],
        ],
    ),
    Difference(
        answers_to_no_questions,
        "The same.",
        theirs=[[*OPENING, SAID, TITLE], "broken off", "broken off"],
        ours=[[*OPENING, SAID, TITLE], ["error"], ["error"]],
    ),
    Difference(
        action_of_an_unknown_item,
        "The same.",
        theirs=[[*OPENING, SAID, TITLE], "broken off"],
        ours=[[*OPENING, SAID, TITLE], ["error"]],
    ),
    Difference(
        wrong_sender_of_a_sync_action,
        "The reference answers 500, as if it were its own fault.",
        theirs=[[*OPENING, SAID, TITLE], 500],
        ours=[[*OPENING, SAID, TITLE], 400],
    ),
    Difference(
        message_to_a_locked_thread,
        "The reference leaves it to the client to lock a thread; we let actions in only.",
        theirs=[
            [*OPENING, "thread.item.done client_tool_call", TITLE],
            ["stream_options", SAID],
            ["thread.item.done user_message", "stream_options", SAID],
            ["stream_options", SAID],
        ],
        ours=[
            [*OPENING, "thread.item.done client_tool_call", TITLE],
            ["error"],
            ["error"],
            ["stream_options", SAID],
        ],
    ),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Both with the same agent."""
    with running_pair({"GATEWAY_AGENT": "tests.scripted:scripted"}, with_model=False) as pair:
        yield pair


@pytest.mark.parametrize("scenario", SAME, ids=lambda scenario: scenario.__name__)
async def test_the_same_requests_get_the_same_answers(scenario: Scenario, servers: Pair) -> None:
    theirs, mine = await traces(servers, scenario)
    assert len(theirs) == len(mine) > 0
    for their_answer, my_answer in zip(theirs, mine, strict=True):
        assert my_answer == their_answer


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.scenario.__name__)
async def test_the_list_of_differences_is_true(difference: Difference, servers: Pair) -> None:
    theirs, mine = await traces(servers, difference.scenario)
    assert kinds_in(theirs) == difference.theirs
    assert kinds_in(mine) == difference.ours


async def test_what_a_sync_action_has_changed_is_stored_here_and_not_there(servers: Pair) -> None:
    """The reference leaves it to the integrator."""

    async def changed(server: Driver) -> None:
        thread_id, [item_id] = await begun_with(server, widget())
        wanted = {"type": "press", "payload": 1}
        await server.call("threads.sync_custom_action", thread_id=thread_id, item_id=item_id, action=wanted)
        await listed(server, thread_id)

    theirs, mine = await traces(servers, changed)
    assert mine[1] == theirs[1]
    assert mine[1]["updated_item"] == mine[2]["data"][1] != theirs[2]["data"][1]
