"""What an agent can say and show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bobbin_gateway import questions, replies
from bobbin_gateway.agent import Turn
from bobbin_protocol.events import (
    ClientEffectEvent,
    NoticeEvent,
    ProgressUpdateEvent,
    ThreadItemReplacedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import ThreadItem, WidgetItem
from bobbin_protocol.tasks import CustomTask
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.widgets import Card, Text, WidgetRoot, plain_widget
from bobbin_protocol.wire import encode_json
from tests.client import check_event, kinds_of, text_of

Sent = dict[str, Any]


def turn() -> Turn:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    return Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)


async def pieces_of(*pieces: Any) -> AsyncIterator[Any]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


async def sent(events: AsyncIterator[ThreadStreamEvent], *, kept: list[Sent] | None = None) -> list[Sent]:
    """The events as the client gets them, each accepted by the reference."""
    kept = [] if kept is None else kept
    async for event in events:
        kept.append(as_sent(event))
    return kept


def as_sent(event: ThreadStreamEvent) -> Sent:
    plain = msgspec.json.decode(encode_json(event))
    check_event(plain)
    return plain


def folded(events: list[Sent]) -> ItemFold:
    fold = ItemFold()
    for event in events:
        fold.apply(msgspec.convert(event, ThreadStreamEvent))
    return fold


def card(text: str, *, streaming: bool | None = None) -> Card:
    return Card(children=[Text(id="t", value=text, streaming=streaming)])


class Held:
    """Widgets, then silence until someone lets go."""

    def __init__(self, *states: WidgetRoot) -> None:
        self.states = states
        self.waiting = asyncio.Event()
        self.closed = False

    async def __call__(self) -> AsyncIterator[WidgetRoot]:
        try:
            for state in self.states:
                yield state
            self.waiting.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True


def test_what_is_not_kept_is_an_event_of_its_own() -> None:
    assert replies.progress("Reading", "bolt") == ProgressUpdateEvent(text="Reading", icon="bolt")
    assert replies.notice("**Careful**", level="warning") == NoticeEvent(
        level="warning", message="**Careful**"
    )
    assert replies.effect("highlight", id=3) == ClientEffectEvent(name="highlight", data={"id": 3})


def test_an_item_is_one_event_that_the_reference_accepts() -> None:
    one = turn()
    events = [
        as_sent(event)
        for event in (
            replies.message(one, "*Hi*"),
            replies.questions(one, [questions.freeform("name", "Your name?")]),
            replies.client_tool_call(one, "locate", {"precise": True}),
            replies.image(one, "https://a.example/b.png"),
            replies.task(one, CustomTask(title="Tidied up")),
            replies.end_of_turn(one),
        )
    ]
    assert kinds_of(events) == [
        "thread.item.done assistant_message",
        "thread.item.done structured_input",
        "thread.item.done client_tool_call",
        "thread.item.done generated_image",
        "thread.item.done task",
        "thread.item.done end_of_turn",
    ]
    assert len({event["item"]["id"] for event in events}) == len(events)
    assert {event["item"]["thread_id"] for event in events} == {"thr_1"}
    [message, asked, call, image, task, _] = [event["item"] for event in events]
    assert text_of(message) == "*Hi*"
    assert (asked["status"], asked["inputs"][0]["question"]) == ("pending", "Your name?")
    assert (call["status"], call["name"], call["arguments"]) == ("pending", "locate", {"precise": True})
    assert image["image"]["url"] == "https://a.example/b.png"
    assert task["task"]["title"] == "Tidied up"


def test_hidden_content_is_any_json() -> None:
    assert as_sent(replies.hidden(turn(), {"seen": [1]}))["item"]["content"] == {"seen": [1]}


def test_a_call_keeps_the_id_that_the_model_gave_it_and_else_gets_one() -> None:
    given, made_up = (
        as_sent(replies.client_tool_call(turn(), "locate", call_id=call_id))["item"]
        for call_id in ("call_7", None)
    )
    assert given["call_id"] == "call_7"
    assert made_up["call_id"] not in {"", made_up["id"]}
    assert made_up["arguments"] == {}


def test_questions_need_ids_of_their_own() -> None:
    for inputs in ([], [questions.freeform("a", "A?"), questions.freeform("a", "B?")]):
        with pytest.raises(ValueError, match="questions"):
            replies.questions(turn(), inputs)


async def test_a_text_is_shown_as_it_comes_to_be() -> None:
    events = await sent(replies.stream_text(turn(), pieces_of("Good", "", " morning")))
    assert kinds_of(events) == [
        "thread.item.added assistant_message",
        "assistant_message.content_part.added",
        "assistant_message.content_part.text_delta",
        "assistant_message.content_part.done",
        "thread.item.done assistant_message",
    ]
    assert [event["update"]["delta"] for event in events[2:4]] == ["Good", " morning"]
    assert text_of(events[-1]["item"]) == "Good morning"
    assert folded(events[:-1]).items() == folded(events).items()


async def test_a_text_that_never_comes_is_no_message() -> None:
    assert await sent(replies.stream_text(turn(), pieces_of())) == []
    assert await sent(replies.stream_text(turn(), pieces_of("", ""))) == []


async def test_a_text_that_breaks_stays_as_far_as_it_got() -> None:
    kept: list[Sent] = []
    with pytest.raises(RuntimeError, match="broken"):
        await sent(replies.stream_text(turn(), pieces_of("Good", RuntimeError("broken"))), kept=kept)
    assert text_of(kept[-1]["item"]) == "Good"
    assert kept[-1]["type"] == "thread.item.done"


async def test_a_widget_is_one_event() -> None:
    [event] = await sent(replies.widget(turn(), card("Hi"), copy_text="Hi"))
    assert event["item"]["widget"] == plain_widget(card("Hi"))
    assert event["item"]["copy_text"] == "Hi"


async def test_of_a_widget_that_changes_the_differences_are_sent() -> None:
    states = [
        card("", streaming=True),
        card("Good", streaming=True),
        card("Good", streaming=True),
        card("Good morning", streaming=False),
        Card(size="sm", children=[]),
    ]
    events = await sent(replies.widget(turn(), pieces_of(*states), copy_text="c"))
    assert kinds_of(events) == [
        "thread.item.added widget",
        "widget.streaming_text.value_delta",
        "widget.streaming_text.value_delta",
        "widget.root.updated",
        "thread.item.done widget",
    ]
    assert [(event["update"]["delta"], event["update"]["done"]) for event in events[1:3]] == [
        ("Good", False),
        (" morning", True),
    ]
    assert events[-1]["item"] == {**events[0]["item"], "widget": plain_widget(states[-1])}
    assert folded(events[:-1]).items() == folded(events).items()


async def test_a_widget_may_be_changed_and_given_again() -> None:
    async def growing() -> AsyncIterator[WidgetRoot]:
        text = Text(id="t", value="")
        widget = Card(children=[text])
        for word in ("one", " two"):
            text.value += word
            yield widget

    events = await sent(replies.widget(turn(), growing()))
    assert kinds_of(events)[1] == "widget.streaming_text.value_delta"
    assert events[1]["update"]["delta"] == " two"
    assert events[0]["item"]["widget"] == plain_widget(card("one"))


async def test_nulls_and_tuples_never_reach_a_client() -> None:
    mixed = Card(children=({"type": "Row", "gap": None, "children": (Text(value="x"),)},))
    states = [mixed, Card(children=(*mixed.children, {"type": "Row", "gap": None}))]
    row = {"type": "Row", "children": [{"type": "Text", "value": "x"}]}
    events = await sent(replies.widget(turn(), pieces_of(*states)))
    assert events[0]["item"]["widget"] == {"type": "Card", "children": [row]}
    assert events[1]["update"]["widget"] == {"type": "Card", "children": [row, {"type": "Row"}]}


async def test_a_widget_without_a_state_is_none() -> None:
    assert await sent(replies.widget(turn(), pieces_of())) == []


async def test_a_widget_whose_states_break_stays_as_it_was() -> None:
    kept: list[Sent] = []
    with pytest.raises(RuntimeError, match="broken"):
        await sent(
            replies.widget(turn(), pieces_of(card("a"), card("ab"), RuntimeError("broken"))), kept=kept
        )
    assert kinds_of(kept)[-1] == "thread.item.done widget"
    assert kept[-1]["item"]["widget"] == plain_widget(card("ab"))

    with pytest.raises(RuntimeError, match="at once"):
        await sent(replies.widget(turn(), pieces_of(RuntimeError("at once"))))


@pytest.mark.parametrize("wrong", [{"type": "Text", "value": "no root"}, {"type": "Card", "children": ["x"]}])
async def test_what_is_no_widget_is_refused_and_what_was_shown_stays(wrong: Any) -> None:
    kept: list[Sent] = []
    with pytest.raises(ValueError, match="widget"):
        await sent(replies.widget(turn(), pieces_of(card("a"), wrong)), kept=kept)
    assert kept[-1]["item"]["widget"] == plain_widget(card("a"))
    with pytest.raises(ValueError, match="widget"):
        await sent(replies.widget(turn(), wrong))


async def test_whoever_makes_a_widget_is_told_when_the_turn_is_cancelled() -> None:
    held = Held(card("a"))
    listening = asyncio.create_task(sent(replies.widget(turn(), held())))
    await held.waiting.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert held.closed


async def test_whoever_makes_a_widget_is_told_when_nobody_listens_any_more() -> None:
    held = Held(card("a"), card("b"))
    async with aclosing(replies.widget(turn(), held())) as events:
        await anext(events)
    assert held.closed


async def test_another_widget_takes_the_place_of_its_sender() -> None:
    [event] = await sent(replies.widget(turn(), card("before"), copy_text="c"))
    [sender] = folded([event]).items()
    assert isinstance(sender, WidgetItem)
    replaced = replies.updated_widget(sender, card("after"))
    assert isinstance(replaced, ThreadItemReplacedEvent)
    items: list[ThreadItem] = folded([event, as_sent(replaced)]).items()
    assert [encode_json(item) for item in items] == [encode_json(replaced.item)]
    assert as_sent(replaced)["item"] == {**event["item"], "widget": plain_widget(card("after"))}
