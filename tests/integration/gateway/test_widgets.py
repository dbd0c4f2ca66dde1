"""Widgets and all else an agent can show, through HTTP: the reference accepts it, and it is there later on.

The client checks every event and answer against the reference's types.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import httpx
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference calls its own widgets deprecated
    from chatkit.widgets import StrictWidgetRoot as RootOfTheReference
    from pydantic import TypeAdapter

from bobbin_protocol.widgets import StrictWidgetComponent, StrictWidgetRoot, plain_widget
from tests.client import Client, Event, errors_of, kinds_of, message, text_of, thread_id_of
from tests.processes import Service, running
from tests.showing import EVERY_KIND, WEATHER
from tests.stack import Stack, gateway_service
from tests.widget_states import everything_in

_STRICT: TypeAdapter[Any] = TypeAdapter(RootOfTheReference)


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Service]:
    with running(gateway_service(stack.store, stack.model, GATEWAY_AGENT="tests.showing:showing")) as gateway:
        yield gateway


@pytest.fixture
async def chat(gateway: Service) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield Client(http)


async def stored(chat: Client, events: list[Event]) -> list[dict[str, Any]]:
    """What a page that is loaded again shows, but for the user's message."""
    thread = await chat.call("threads.get_by_id", thread_id=thread_id_of(events))
    return thread["items"]["data"][1:]


def shown(events: list[Event]) -> list[dict[str, Any]]:
    """The agent's finished items."""
    done = [event["item"] for event in events if event["type"] == "thread.item.done"]
    return [item for item in done if item["type"] != "user_message"]


async def test_a_widget_streams_by_its_differences_and_is_kept_in_its_last_state(chat: Client) -> None:
    events = await chat.create("weather")
    begin = kinds_of(events).index("thread.item.added widget")
    updates = [event["update"] for event in events if event["type"] == "thread.item.updated"]
    assert kinds_of(events)[begin:-1] == [
        "thread.item.added widget",
        "widget.streaming_text.value_delta",
        "widget.streaming_text.value_delta",
        "widget.streaming_text.value_delta",
        "widget.component.updated",
        "widget.root.updated",
        "thread.item.done widget",
    ]
    assert [(update["component_id"], update["delta"], update["done"]) for update in updates[:3]] == [
        ("forecast", "Sun,", False),
        ("forecast", " then **rain**", False),
        ("forecast", ".", True),
    ]
    assert updates[3]["component_id"] == "head"
    [widget] = shown(events)
    assert widget["widget"] == updates[4]["widget"] == plain_widget(WEATHER[-1])
    assert widget["copy_text"] == "weather"
    assert await stored(chat, events) == [widget]


async def test_a_page_that_is_loaded_while_a_widget_changes_shows_it_as_it_stands(chat: Client) -> None:
    async with chat.stream("threads.create", input=message("endless")) as events:
        seen: list[Event] = []
        async for event in events:
            seen.append(event)
            if kinds_of(seen).count("widget.streaming_text.value_delta") == 2:
                break
        [widget] = await stored(chat, seen)
    assert widget["widget"] == plain_widget(WEATHER[2])


async def test_a_widget_that_breaks_is_kept_as_it_was_shown_last(chat: Client) -> None:
    events = await chat.create("storm")
    assert errors_of(events) == [{"type": "error", "code": "stream.error", "allow_retry": True}]
    [widget] = shown(events)
    assert widget["widget"] == plain_widget(WEATHER[2])
    assert await stored(chat, events) == [widget]


async def test_a_widget_that_never_comes_leaves_nothing(chat: Client) -> None:
    events = await chat.create("nothing")
    assert shown(events) == await stored(chat, events) == []


async def test_every_kind_of_component_is_sent_as_the_reference_knows_it(chat: Client) -> None:
    events = await chat.create("kinds")
    widgets = [item["widget"] for item in shown(events)]
    kinds = {part["type"] for widget in widgets for part in everything_in(widget)}
    ours = get_args(StrictWidgetComponent) + get_args(StrictWidgetRoot)
    assert kinds == {kind.__struct_config__.tag for kind in ours}
    for widget, sent in zip(EVERY_KIND, widgets, strict=True):
        assert sent == plain_widget(widget)
        strict = _STRICT.validate_python(sent)  # its event types would take components that it does not know
        assert _STRICT.dump_python(strict, mode="json", exclude_none=True) == sent
    assert [item["widget"] for item in await stored(chat, events)] == widgets


async def test_all_that_an_agent_can_say_arrives_and_what_is_kept_is_there_later(chat: Client) -> None:
    events = await chat.create("everything")
    kinds = kinds_of(events)
    assert kinds[kinds.index("progress_update") :][:3] == ["progress_update", "notice", "client_effect"]
    assert "hidden_context_item" not in str(events)
    assert [item["type"] for item in shown(events)] == [
        "task",
        "generated_image",
        "assistant_message",
        "structured_input",
        "client_tool_call",
        "assistant_message",
        "end_of_turn",
    ]
    assert text_of(shown(events)[-2]) == "Bit by bit"
    assert await stored(chat, events) == shown(events)
