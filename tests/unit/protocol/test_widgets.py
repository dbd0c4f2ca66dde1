from typing import Any

import msgspec
import pytest

from bobbin_protocol.updates import WidgetComponentUpdated, WidgetRootUpdated
from bobbin_protocol.widgets import (
    Card,
    Icon,
    Markdown,
    Row,
    Text,
    WidgetRoot,
    check_root,
    find_component,
    strict_root,
)
from bobbin_protocol.wire import encode_json


def test_a_widget_may_mix_types_and_json() -> None:
    card = Card(children=[Text(value="Hi"), {"type": "Sparkles", "count": 3}])
    assert encode_json(WidgetRootUpdated(widget=card)) == (
        b'{"type":"widget.root.updated","widget":{"type":"Card","children":'
        b'[{"type":"Text","value":"Hi"},{"type":"Sparkles","count":3}]}}'
    )


def test_a_decoded_widget_keeps_what_this_version_does_not_know() -> None:
    widget = {"type": "Card", "glow": True, "children": [{"type": "Icon", "name": "new-icon", "spin": 2}]}
    update = msgspec.convert({"type": "widget.root.updated", "widget": widget}, WidgetRootUpdated)
    assert update.widget == widget


def test_nulls_in_a_json_widget_are_left_out() -> None:
    widget: WidgetRoot = {"type": "Card", "size": None, "children": [{"type": "Row", "children": None}]}
    assert check_root(widget) == {"type": "Card", "children": [{"type": "Row"}]}


@pytest.mark.parametrize(
    "widget",
    [
        {},
        {"type": "Text", "value": "a component, no root"},
        {"type": 3},
        {"type": "Card", "children": "Hi"},
        {"type": "Card", "children": ["Hi"]},
        {"type": "Card", "children": [{}]},
        {"type": "Card", "children": [{"type": None}]},
        {"type": "Card", "children": [{"type": "Row", "children": [[]]}]},
        {"type": "Card", "id": 3},
        {"type": "Basic", "children": {"type": "Text", "key": 1.5}},
    ],
)
def test_what_is_no_widget_is_refused(widget: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="widget"):
        msgspec.convert({"type": "widget.root.updated", "widget": widget}, WidgetRootUpdated)


def test_a_component_is_checked_as_well() -> None:
    update = {"type": "widget.component.updated", "component_id": "a", "component": {"type": "Row", "id": 7}}
    with pytest.raises(msgspec.ValidationError, match="`id` of a widget component"):
        msgspec.convert(update, WidgetComponentUpdated)


def test_a_very_deep_widget_is_checked_and_searched() -> None:
    widget: dict[str, Any] = {"type": "Text", "id": "deep"}
    for _ in range(300):
        widget = {"type": "Row", "children": [widget]}
    root = {"type": "Card", "children": [widget]}
    checked: Any = check_root(root)
    assert find_component(checked, "deep") == {"type": "Text", "id": "deep"}


def test_the_first_component_with_an_id_is_found_from_the_top() -> None:
    tree = {
        "type": "Card",
        "children": [
            {"type": "Row", "children": [{"type": "Text", "id": "a", "value": "first"}]},
            {"type": "Text", "id": "a", "value": "second"},
            {"type": "Transition", "children": {"type": "Text", "id": "b"}},
        ],
    }
    assert find_component(tree, "a") == {"type": "Text", "id": "a", "value": "first"}
    assert find_component(tree, "b") == {"type": "Text", "id": "b"}
    assert find_component(tree, "c") is None


def test_a_known_widget_comes_back_in_types() -> None:
    card = Card(children=[Row(children=[Markdown(value="*Hi*")])])
    assert strict_root(msgspec.to_builtins(card)) == card
    assert strict_root(card) == card


def test_an_unknown_component_has_no_type() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$.children\[0\].type"):
        strict_root({"type": "Card", "children": [{"type": "Sparkles"}]})


@pytest.mark.parametrize("name", ["book-ope", "check\n", "", "Vendor:x", " star"])
def test_unknown_icons_are_refused_where_types_are_asked_for(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "Icon", "name": name}, Icon)


@pytest.mark.parametrize("name", ["star", "write-alt2", "vendor:acme", "lucide:cat"])
def test_known_icons_and_those_of_others_pass(name: str) -> None:
    assert msgspec.convert({"type": "Icon", "name": name}, Icon) == Icon(name=name)
