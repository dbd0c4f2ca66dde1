"""The updates between two states of a widget lead from one to the other, and say no more than they must."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemUpdatedEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.updates import WidgetComponentUpdated, WidgetRootUpdated, WidgetStreamingTextValueDelta
from bobbin_protocol.widgets import (
    ActionConfig,
    Badge,
    Button,
    Card,
    Markdown,
    Row,
    Text,
    Title,
    Transition,
    WidgetRoot,
    plain_widget,
)
from bobbin_protocol.widgets.diff import WidgetUpdate, diff_widget
from bobbin_protocol.wire import encode_json
from tests.widget_states import changed, widgets


def folded(before: WidgetRoot, updates: list[WidgetUpdate]) -> Any:
    """The widget as a client has it that knew it before."""
    fold = ItemFold()
    item = WidgetItem(id="w", thread_id="t", created_at=datetime(2024, 1, 1, tzinfo=UTC), widget=before)
    fold.apply(ThreadItemAddedEvent(item=item))
    for update in updates:
        fold.apply(ThreadItemUpdatedEvent(item_id="w", update=update))
    [after] = fold.pending()
    assert isinstance(after, WidgetItem)
    return after.widget


def delta(component_id: str, text: str, *, done: bool) -> WidgetStreamingTextValueDelta:
    return WidgetStreamingTextValueDelta(component_id=component_id, delta=text, done=done)


@given(st.data())
def test_the_updates_always_lead_from_the_old_state_to_the_new_one(data: st.DataObject) -> None:
    before = data.draw(widgets())
    after = data.draw(changed(before) | widgets())
    updates = diff_widget(before, after)
    assert folded(before, updates) == after
    assert bool(updates) == (before != after)


@given(st.data())
def test_a_whole_widget_or_component_is_never_sent_beside_another(data: st.DataObject) -> None:
    before = data.draw(widgets())
    updates = diff_widget(before, data.draw(changed(before)))
    whole = [update for update in updates if not isinstance(update, WidgetStreamingTextValueDelta)]
    assert len(whole) <= 1
    assert len(updates) == 1 or not any(isinstance(update, WidgetRootUpdated) for update in updates)


@given(st.data())
def test_of_a_widget_in_which_only_texts_with_ids_of_their_own_grow_only_deltas_are_sent(
    data: st.DataObject,
) -> None:
    said = data.draw(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5))
    before, after = (
        Card(children=[Row(children=[Markdown(value=text, id=f"t{at}")]) for at, text in enumerate(texts)])
        for texts in ([old for old, _ in said], [old + more for old, more in said])
    )
    grown = [(f"t{at}", more) for at, (_, more) in enumerate(said) if more]
    assert diff_widget(before, after) == [delta(name, more, done=True) for name, more in grown]


def test_a_text_streams_until_its_last_words() -> None:
    states = [
        Card(children=[Text(value=value, id="t", streaming=streaming)])
        for value, streaming in (("", True), ("Good", True), ("Good morning", False))
    ]
    assert diff_widget(states[0], states[1]) == [delta("t", "Good", done=False)]
    assert diff_widget(states[1], states[2]) == [delta("t", " morning", done=True)]
    assert folded(states[1], diff_widget(states[1], states[2])) == plain_widget(states[2])


def test_a_text_that_stops_to_stream_without_another_word_is_sent_itself() -> None:
    before = Card(children=[Text(value="Hi", id="t", streaming=True)])
    after = Card(children=[Text(value="Hi", id="t", streaming=False)])
    update = WidgetComponentUpdated(component_id="t", component=plain_widget(after.children[0]))
    assert diff_widget(before, after) == [update]


def test_a_component_that_changed_alone_is_sent_alone_and_texts_grow_beside_it() -> None:
    def card(label: str, text: str) -> Card:
        return Card(
            children=[Title(value="T"), Badge(label=label, id="b"), Row(children=[Text(value=text, id="t")])]
        )

    changed_badge = WidgetComponentUpdated(
        component_id="b", component={"type": "Badge", "id": "b", "label": "new"}
    )
    assert diff_widget(card("old", "x"), card("new", "x")) == [changed_badge]
    assert diff_widget(card("old", "x"), card("new", "xy")) == [changed_badge, delta("t", "y", done=True)]


def test_what_changed_in_several_components_is_sent_as_what_holds_them_all() -> None:
    def card(done: bool, row_id: str | None) -> Card:
        badges = [Badge(label=str(done), id="a"), Badge(label=str(not done), id="b")]
        return Card(children=[Title(value="T"), Row(id=row_id, children=badges)])

    [update] = diff_widget(card(done=False, row_id="r"), card(done=True, row_id="r"))
    assert isinstance(update, WidgetComponentUpdated)
    assert update.component_id == "r"
    [update] = diff_widget(card(done=False, row_id=None), card(done=True, row_id=None))
    assert isinstance(update, WidgetRootUpdated)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("one two", "one"),
        ("one", "two"),
    ],
)
def test_a_text_that_is_cut_or_rewritten_is_sent_whole(before: str, after: str) -> None:
    [update] = diff_widget(
        Card(children=[Text(value=before, id="t")]), Card(children=[Text(value=after, id="t")])
    )
    assert update == WidgetComponentUpdated(
        component_id="t", component={"type": "Text", "id": "t", "value": after}
    )


def test_a_text_that_grows_without_an_id_is_sent_with_what_has_one() -> None:
    def card(text: str) -> Card:
        return Card(children=[Row(id="r", children=[Text(value=text)])])

    [update] = diff_widget(card("a"), card("ab"))
    assert isinstance(update, WidgetComponentUpdated)
    assert update.component_id == "r"


def test_an_only_child_grows_as_others_do() -> None:
    def card(text: str) -> Card:
        return Card(children=[Transition(children=Text(value=text, id="t"))])

    assert diff_widget(card("a"), card("ab")) == [delta("t", "b", done=True)]


def test_an_id_that_stands_for_two_components_addresses_neither() -> None:
    def card(text: str) -> Card:
        return Card(children=[Text(value="x", id="t"), Text(value=text, id="t")])

    [update] = diff_widget(card("a"), card("ab"))
    assert isinstance(update, WidgetRootUpdated)


def test_an_action_that_only_changes_the_kind_of_a_value_is_sent() -> None:
    def card(payload: Any) -> Card:
        return Card(
            children=[Button(id="b", label="Go", onClickAction=ActionConfig(type="go", payload=payload))]
        )

    assert len(diff_widget(card(1), card(True))) == 1
    assert diff_widget(card({"a": None}), card({})) == []


def test_components_may_stand_in_tuples() -> None:
    def card(text: str) -> Card:
        return Card(children=(Row(children=(Text(value=text, id="t"),)),))

    assert diff_widget(card("a"), card("ab")) == [delta("t", "b", done=True)]
    assert folded(card("a"), diff_widget(card("a"), card("ab"))) == plain_widget(card("ab"))


def test_a_very_deep_widget_is_compared() -> None:
    def card(text: str) -> WidgetRoot:
        widget: dict[str, Any] = {"type": "Text", "id": "deep", "value": text}
        for _ in range(300):
            widget = {"type": "Row", "children": [widget]}
        return {"type": "Card", "children": [widget]}

    assert diff_widget(card("a"), card("ab")) == [delta("deep", "b", done=True)]


def test_what_is_sent_of_a_typed_widget_is_what_is_sent_of_its_json() -> None:
    before = Card(children=[Text(value="a", id="t"), Badge(label="x")])
    after = Card(children=[Text(value="ab", id="t"), Badge(label="y")])
    assert encode_json(diff_widget(before, after)) == encode_json(
        diff_widget(plain_widget(before), plain_widget(after))
    )


def text(value: str, component_id: str = "t", **fields: Any) -> dict[str, Any]:
    return {"type": "Text", "id": component_id, "value": value, **fields}


def row(component_id: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Row", "id": component_id, "children": list(children)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([row("a", text("x", "b"))], [row("b", text("x", "a"))], id="ids swapped"),
        pytest.param(
            [text("a"), row("r", text("x"))], [text("ab"), row("r", text("x", "y"))], id="shared before"
        ),
        pytest.param(
            [text("a"), row("r", text("x", "y"))], [text("ab"), row("r", text("x"))], id="shared after"
        ),
        pytest.param(text("a"), [text("a")], id="an only child in a list"),
        pytest.param([text("a")], None, id="no children any more"),
    ],
)
def test_what_ids_cannot_say_is_said_by_the_whole_widget(before: Any, after: Any) -> None:
    old, new = ({"type": "Basic", "id": "root", "children": children} for children in (before, after))
    [update] = diff_widget(old, new)
    assert isinstance(update, WidgetRootUpdated)
    assert folded(old, [update]) == plain_widget(new)


@pytest.mark.parametrize(
    ("before", "after"), [({}, {"streaming": False}), ({"streaming": True}, {}), ({}, {"streaming": True})]
)
def test_a_text_whose_streaming_changes_otherwise_is_sent_whole(before: Any, after: Any) -> None:
    old, new = (
        {"type": "Card", "children": [component]} for component in (text("a", **before), text("ab", **after))
    )
    [update] = diff_widget(old, new)
    assert isinstance(update, WidgetComponentUpdated)
    assert folded(old, [update]) == new
