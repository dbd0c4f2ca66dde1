"""Made-up widgets, and what they may turn into: for tests of what is sent when a widget changes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

Widget = dict[str, Any]

_IDS = st.sampled_from([*"abcdefghijkl", None, None])
_WORDS = st.text("xy ", max_size=3)
_FLAGS = st.sampled_from([True, False, None])


@st.composite
def _component(draw: st.DrawFn, kind: str, **fields: Any) -> Widget:
    named = {"id": draw(_IDS), "key": draw(st.sampled_from(["k", None, None])), **fields}
    return {"type": kind, **{name: value for name, value in named.items() if value is not None}}


@st.composite
def _text(draw: st.DrawFn) -> Widget:
    kind = draw(st.sampled_from(["Text", "Markdown"]))
    return draw(_component(kind, value=draw(_WORDS), streaming=draw(_FLAGS)))


@st.composite
def _leaf(draw: st.DrawFn) -> Widget:
    if draw(st.booleans()):
        return draw(_text())
    return draw(_component("Badge", label=draw(_WORDS), pill=draw(_FLAGS)))


def _box(children: st.SearchStrategy[Widget]) -> st.SearchStrategy[Widget]:
    many = st.lists(children, max_size=3)
    row = many.flatmap(lambda inner: _component("Row", children=inner))
    only = children.flatmap(lambda inner: _component("Transition", children=inner))
    return row | only


@st.composite
def widgets(draw: st.DrawFn) -> Widget:
    """A card of texts and badges, in rows and transitions. Some ids may stand for several components."""
    components = st.recursive(_leaf(), _box, max_leaves=8)
    return draw(_component("Card", children=draw(st.lists(components, min_size=1, max_size=4))))


@st.composite
def changed(draw: st.DrawFn, widget: Widget) -> Widget:
    """The widget some changes later: mostly more text."""
    later = deepcopy(widget)
    for _ in range(draw(st.integers(1, 5))):
        _change(draw, draw(st.sampled_from(everything_in(later))))
    return later


def _change(draw: st.DrawFn, component: Widget) -> None:
    match draw(
        st.sampled_from(["more", "more", "more", "end", "rewrite", "flag", "rename", "replace", "drop"])
    ):
        case "more" if "value" in component:
            component["value"] += draw(st.text("xy", min_size=1, max_size=3))
        case "end" if "value" in component:
            component["value"] += draw(_WORDS)
            component["streaming"] = False
        case "rewrite" if "value" in component:
            component["value"] = draw(_WORDS)
        case "flag" if component["type"] == "Badge":
            component["pill"] = draw(st.sampled_from([True, False]))
        case "rename":
            component["id"] = draw(st.sampled_from("abcdef"))
        case "replace" if component["type"] != "Card":
            component.clear()
            component.update(draw(_leaf()))
        case "drop" if component.get("children") and isinstance(component["children"], list):
            component["children"].pop(draw(st.integers(0, len(component["children"]) - 1)))
        case "flag" if component["type"] == "Row":
            component["gap"] = draw(st.integers(0, 2))
        case "flag" if component["type"] == "Card":
            component["size"] = draw(st.sampled_from(["sm", "md"]))
        case _:
            pass


def everything_in(widget: Widget) -> list[Widget]:
    """The widget and all its components."""
    children = widget.get("children", [])
    below = children if isinstance(children, list) else [children]
    return [widget, *(inner for child in below for inner in everything_in(child))]
