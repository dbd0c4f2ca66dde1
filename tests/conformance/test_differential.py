"""The reference server and our gateway get the same requests and the same model: what do they answer?

The events and the JSON answers must be equal, but for the differences listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import message, thread_id_of
from tests.differential import Difference, Driver, Pair, Scenario, kinds_in, running_pair, traces


async def conversation(server: Driver) -> None:
    thread_id = thread_id_of(await server.stream("threads.create", input=message("Tell me about bobbins")))
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("And about looms?"))
    quoted = message("What is this?", quoted_text="a shuttle")
    await server.stream("threads.add_user_message", thread_id=thread_id, input=quoted)
    await server.call("threads.get_by_id", thread_id=thread_id)


async def unicode_text(server: Driver) -> None:
    text = "script:text=Grüße+%F0%9F%A7%B5+%E2%80%A8+%22quoted%22+%5C+%3C%2Fscript%3E&size=1"
    await server.stream("threads.create", input=message("\u2028 \u0001 🧵 \\", model=text))
    await server.call("threads.list")


async def several_parts(server: Driver) -> None:
    await server.stream("threads.create", input=message("Hello", model="script:parts=3&deltas=9"))


async def recorded_text(server: Driver) -> None:
    model = "recording:responses-openai-text-unicode"
    thread_id = thread_id_of(await server.stream("threads.create", input=message("Hello", model=model)))
    await server.call("items.list", thread_id=thread_id, order="asc")


async def retry(server: Driver) -> None:
    events = await server.stream("threads.create", input=message("One"))
    thread_id = thread_id_of(events)
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("Two"))
    question = next(e["item"]["id"] for e in events if e["type"] == "thread.item.done")
    await server.stream("threads.retry_after_item", thread_id=thread_id, item_id=question)
    await server.call("items.list", thread_id=thread_id, order="asc")


async def item_pages(server: Driver) -> None:
    thread_id = thread_id_of(await server.stream("threads.create", input=message("One")))
    for text in ("Two", "Three"):
        await server.stream("threads.add_user_message", thread_id=thread_id, input=message(text))
    for order in ("asc", "desc"):
        page = await server.call("items.list", thread_id=thread_id, order=order, limit=4)
        await server.call("items.list", thread_id=thread_id, order=order, limit=4, after=page["after"])
    await server.call("items.list", thread_id=thread_id, limit=6)
    await server.call("items.list", thread_id=thread_id, limit=0)
    await server.call("items.list", thread_id=thread_id, limit=None, after=None)


async def thread_pages(server: Driver) -> None:
    for text in ("One", "Two", "Three"):
        await server.stream("threads.create", input=message(text))
    for order in ("asc", "desc"):
        page = await server.call("threads.list", order=order, limit=2)
        await server.call("threads.list", order=order, limit=2, after=page["after"])
    await server.call("threads.list")


async def rename_and_delete(server: Driver) -> None:
    thread_id = thread_id_of(await server.stream("threads.create", input=message("One")))
    await server.call("threads.update", thread_id=thread_id, title="A name")
    await server.stream("threads.add_user_message", thread_id=thread_id, input=message("Two"))
    await server.call("threads.delete", thread_id=thread_id)
    await server.call("threads.list")


async def feedback(server: Driver) -> None:
    events = await server.stream("threads.create", input=message("One"))
    item_id = next(e["item"]["id"] for e in events if e["type"] == "thread.item.done")
    await server.call("items.feedback", thread_id=thread_id_of(events), item_ids=[item_id], kind="positive")


async def nulls_and_unknown_fields(server: Driver) -> None:
    body = message("One") | {"quoted_text": None, "novelty": {"a": 1}}
    body["inference_options"] = {"model": None, "tool_choice": None}
    await server.stream("threads.create", input=body)


async def tags(server: Driver) -> None:
    tag = {"type": "input_tag", "id": "u_1", "text": "Ada", "data": {"born": 1815}, "group": "people"}
    await server.stream("threads.create", input=message("Who is ") | {"content": [tag]})


async def failed_turn(server: Driver) -> None:
    await server.stream("threads.create", input=message("One", model="script:error_after=5"))


async def no_model(server: Driver) -> None:
    await server.stream("threads.create", input=message("One", model="script:status=401"))


async def refusal(server: Driver) -> None:
    await server.stream("threads.create", input=message("One", model="script:refusal=1"))


async def cut_answer(server: Driver) -> None:
    await server.stream("threads.create", input=message("One", model="script:incomplete=max_output_tokens"))


async def unknown_thread(server: Driver) -> None:
    await server.stream("threads.add_user_message", thread_id="thr_none", input=message("One"))
    await server.call("threads.get_by_id", thread_id="thr_none")


async def deleted_thread(server: Driver) -> None:
    thread_id = thread_id_of(await server.stream("threads.create", input=message("One")))
    await server.call("threads.delete", thread_id=thread_id)
    await server.call("items.list", thread_id=thread_id)
    await server.call("threads.delete", thread_id=thread_id)


SAME = [
    conversation,
    unicode_text,
    several_parts,
    recorded_text,
    retry,
    item_pages,
    thread_pages,
    rename_and_delete,
    feedback,
    nulls_and_unknown_fields,
]
OPENING = ["thread.created", "thread.item.done user_message", "stream_options"]
ADDED = ["thread.item.added assistant_message"]
PART = ["assistant_message.content_part.added"]
DELTAS = ["assistant_message.content_part.text_delta"]
DONE = ["assistant_message.content_part.done", "thread.item.done assistant_message"]
TITLE = ["thread.updated"]


DIFFERENCES = [
    Difference(
        tags,
        "The reference takes tags only with a converter of the integrator's; we name them to the model.",
        theirs=[[*OPENING, "error"]],
        ours=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, *TITLE]],
    ),
    Difference(
        failed_turn,
        "The Agents SDK drops what was said before a failure; we keep it, and finish it.",
        theirs=[[*OPENING, *ADDED, "error"]],
        ours=[[*OPENING, *ADDED, *PART, *DELTAS, "thread.item.done assistant_message", *TITLE, "error"]],
    ),
    Difference(
        no_model,
        "We name the thread although its answer failed; and the error says what is wrong.",
        theirs=[[*OPENING, "error"]],
        ours=[[*OPENING, *TITLE, "error"]],
    ),
    Difference(
        refusal,
        "The reference fails on a streamed refusal; for us it is the text of the answer.",
        theirs=[[*OPENING, *ADDED, *PART, "error"]],
        ours=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, *TITLE]],
    ),
    Difference(
        cut_answer,
        "The Agents SDK fails on an incomplete response although all was streamed; we add a notice.",
        theirs=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, "error"]],
        ours=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, "notice", *TITLE]],
    ),
    Difference(
        unknown_thread,
        "The reference breaks off or answers 500, which chatkit.js repeats; we say what is wrong.",
        theirs=["broken off", 500],
        ours=[["error"], 404],
    ),
    Difference(
        deleted_thread,
        "The reference finds nothing wrong with a thread that is not there; we answer 404.",
        theirs=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, *TITLE], {}, {"data": [], "has_more": False}, {}],
        ours=[[*OPENING, *ADDED, *PART, *DELTAS, *DONE, *TITLE], {}, 404, 404],
    ),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Both with the same model."""
    ours = {"MODEL": "script:deltas=12"}
    theirs = ("--model=script:deltas=12",)
    with running_pair(ours, theirs, with_model=True) as pair:
        yield pair


@pytest.mark.parametrize("scenario", SAME, ids=lambda scenario: scenario.__name__)
async def test_the_same_requests_get_the_same_answers(scenario: Scenario, servers: Pair) -> None:
    theirs, mine = await traces(servers, scenario)
    assert len(theirs) == len(mine) > 0
    for their_answer, my_answer in zip(theirs, mine, strict=True):
        assert my_answer == their_answer


def fails_in_mid_answer(kinds: Any, wanted: Any) -> bool:
    """Whether the reference failed as expected, if sooner or later: failures may overtake what it says."""
    said = [*OPENING, *ADDED, *PART, *DELTAS]
    return (
        isinstance(kinds, list)
        and isinstance(wanted, list)
        and wanted[:-1] == said[: len(wanted) - 1]
        and wanted[-1] == kinds[-1] == "error"
        and kinds[:-1] == said[: len(kinds) - 1]
    )


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.scenario.__name__)
async def test_the_list_of_differences_is_true(difference: Difference, servers: Pair) -> None:
    theirs, mine = await traces(servers, difference.scenario)
    assert len(theirs) == len(difference.theirs)
    for kinds, wanted in zip(kinds_in(theirs), difference.theirs, strict=True):
        assert kinds == wanted or fails_in_mid_answer(kinds, wanted)
    assert kinds_in(mine) == difference.ours
