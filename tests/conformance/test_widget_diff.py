"""Our `diff_widget` beside the reference's: the same updates, or fewer bytes that lead to the same widget."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference calls its own widgets deprecated
    from chatkit.server import diff_widget as diff_of_the_reference
    from chatkit.types import ThreadItemUpdate as UpdateOfTheReference
    from chatkit.widgets import WidgetRoot as RootOfTheReference
    from pydantic import TypeAdapter

from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemUpdatedEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.updates import ThreadItemUpdate
from bobbin_protocol.widgets.diff import diff_widget
from bobbin_protocol.wire import encode_json
from tests.widget_states import Widget, changed, everything_in, widgets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

_ROOT: TypeAdapter[Any] = TypeAdapter(RootOfTheReference)
_UPDATES: TypeAdapter[Any] = TypeAdapter(list[UpdateOfTheReference])


def _by_the_reference(before: Widget, after: Widget) -> list[Any] | None:
    """What the reference sends; None where it raises."""
    try:
        updates = diff_of_the_reference(_ROOT.validate_python(before), _ROOT.validate_python(after))
    except (ValueError, AttributeError):
        return None
    return json.loads(_UPDATES.dump_json(updates, by_alias=True, exclude_none=True))


def _folded(before: Widget, updates: list[Any]) -> Any:
    fold = ItemFold()
    item = WidgetItem(id="w", thread_id="t", created_at=datetime(2024, 1, 1, tzinfo=UTC), widget=before)
    fold.apply(ThreadItemAddedEvent(item=item))
    for update in msgspec.convert(updates, list[ThreadItemUpdate]):
        fold.apply(ThreadItemUpdatedEvent(item_id="w", update=update))
    return msgspec.to_builtins(fold.pending()[0])["widget"]


@settings(max_examples=400)
@given(st.data())
def test_we_send_what_the_reference_sends_or_less_that_says_the_same(data: st.DataObject) -> None:
    before = data.draw(widgets())
    after = data.draw(changed(before))
    ours = json.loads(encode_json(diff_widget(before, after)))
    _UPDATES.validate_python(ours)
    assert _folded(before, ours) == after

    theirs = _by_the_reference(before, after)
    if theirs is None:
        event("the reference raises")
    elif _folded(before, theirs) != after:
        event("the reference loses something")
        assert _has_texts_it_cannot_address(before) or _has_texts_it_cannot_address(after)
    elif any(_is_shared(update.get("component_id"), before, after) for update in theirs):
        event("the reference sends a text by an id that two components have")
    elif ours != theirs:
        event("ours is smaller")
        assert [update["type"] for update in theirs] == ["widget.root.updated"]
        assert all(update["type"] != "widget.root.updated" for update in ours)
    else:
        event("the same")


def _is_shared(component_id: str | None, *widgets: Widget) -> bool:
    ids = [[part.get("id") for part in everything_in(widget)] for widget in widgets]
    return component_id is not None and any(found.count(component_id) > 1 for found in ids)


def _has_texts_it_cannot_address(widget: Widget) -> bool:
    """Whether there are texts that the reference does not see: with no id of their own, or an only child."""
    parts = everything_in(widget)
    ids = [part.get("id") for part in parts]
    texts = [part for part in parts if "value" in part]
    only_children = [part for part in parts if isinstance(part.get("children"), dict)]
    return bool(only_children) or any(ids.count(text.get("id")) > 1 or "id" not in text for text in texts)


@pytest.mark.parametrize("streaming", [True, False, None])
def test_texts_that_grow_are_sent_as_the_reference_sends_them(streaming: bool | None) -> None:
    def card(*texts: str) -> Widget:
        flag = {} if streaming is None else {"streaming": streaming}
        lines = [
            {"type": kind, "id": f"t{at}", "value": text, **flag}
            for at, (kind, text) in enumerate(zip(("Text", "Markdown"), texts, strict=True))
        ]
        return {"type": "Card", "children": [lines[0], {"type": "Row", "children": [lines[1]]}]}

    before, after = card("a", ""), card("ab", "**c**")
    ours = json.loads(encode_json(diff_widget(before, after)))
    assert ours == _by_the_reference(before, after)
    assert [update["delta"] for update in ours] == ["b", "**c**"]


def test_what_the_reference_cannot_say_is_sent() -> None:
    """Examples of what its `diff_widget` raises for, or passes over in silence."""
    text = {"type": "Text", "id": "t", "value": "one"}
    moved = {"type": "Card", "children": [{"type": "Text", "value": "a"}, text]}
    grown = {"type": "Card", "children": [{"type": "Text", "value": "ab"}, text]}
    assert _by_the_reference(moved, grown) == []
    assert _folded(moved, json.loads(encode_json(diff_widget(moved, grown)))) == grown

    alone = {"type": "Card", "children": [{"type": "Transition", "children": text}]}
    longer = {"type": "Card", "children": [{"type": "Transition", "children": {**text, "value": "one two"}}]}
    assert _by_the_reference(alone, longer) == []
    assert _folded(alone, json.loads(encode_json(diff_widget(alone, longer)))) == longer

    odd = {"type": "Card", "children": [{"type": "Sparkles", "count": 1}]}
    other = {"type": "Card", "children": [{"type": "Sparkles", "glow": 1}]}
    assert _by_the_reference(odd, other) is None
    assert _folded(odd, json.loads(encode_json(diff_widget(odd, other)))) == other
