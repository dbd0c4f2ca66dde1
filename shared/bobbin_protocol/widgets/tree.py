"""Widgets as they travel: trees of components, typed or as plain JSON objects.

Code may build widgets from the typed components, from JSON objects (as templates give them), or mixed.
What is decoded always stays a JSON object, because a strict type would drop the fields, and refuse the
components, that a newer client knows. ``strict_root`` turns it into types where all of it is known here.

The reference does the same in its own way: what fits no strict type becomes a ``DynamicWidgetRoot`` or
``DynamicWidgetComponent``. So the rules of those two are the rules of ``check_root`` and ``check_component``.
"""

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from bobbin_protocol.actions import without_nulls
from bobbin_protocol.widgets.layout import StrictWidgetComponent, StrictWidgetRoot

DynamicWidgetComponent: TypeAlias = dict[str, Any]
"""A component as its JSON object: any ``type``, perhaps ``id``, ``key`` and ``children``, and more fields."""

DynamicWidgetRoot: TypeAlias = dict[str, Any]
"""A root as its JSON object: a component of a type in ``ROOT_TYPES``."""

ROOT_TYPES: Final = frozenset({"Card", "ListView", "Basic"})

if TYPE_CHECKING:
    WidgetComponent: TypeAlias = StrictWidgetComponent | DynamicWidgetComponent
    WidgetRoot: TypeAlias = StrictWidgetRoot | DynamicWidgetRoot
else:
    WidgetComponent = dict[str, Any]
    WidgetRoot = dict[str, Any]


def check_root(widget: WidgetRoot) -> WidgetRoot:
    """Give the widget without nulls, having checked that it is one if it is plain JSON.

    Raises:
        ValueError: it is no root, or something in it is no component.
    """
    if isinstance(widget, dict) and widget.get("type") not in ROOT_TYPES:
        raise ValueError("Expected a widget of type Card, ListView or Basic")
    return cast("WidgetRoot", check_component(cast("WidgetComponent", widget)))


def check_component(component: WidgetComponent) -> WidgetComponent:
    """Give the component without nulls, having checked that it is one if it is plain JSON.

    Raises:
        ValueError: it, or something in it, is no component.
    """
    if not isinstance(component, dict):
        return component
    _check(component)
    return without_nulls(component)


def plain_widget(widget: WidgetRoot | WidgetComponent) -> dict[str, Any]:
    """Copy a widget or component as its JSON object, without nulls."""
    return cast("dict[str, Any]", without_nulls(msgspec.to_builtins(widget)))


def strict_root(widget: WidgetRoot) -> StrictWidgetRoot:
    """Give the widget in types. Fields that have none here are lost.

    Raises:
        msgspec.ValidationError: something in it fits no type of ours.
    """
    return msgspec.convert(msgspec.to_builtins(widget), StrictWidgetRoot)


def find_component(root: DynamicWidgetComponent, component_id: str) -> DynamicWidgetComponent | None:
    """Find the component with the id in a tree of plain JSON, the first one from the top."""
    waiting: list[Any] = [root]
    while waiting:
        component = waiting.pop()
        if not isinstance(component, dict):
            continue
        fields = cast("dict[str, Any]", component)
        if fields.get("id") == component_id:
            return fields
        waiting.extend(reversed(children_of(fields)))
    return None


def _check(root: DynamicWidgetComponent) -> None:
    waiting: list[Any] = [root]
    while waiting:
        component = waiting.pop()
        if isinstance(component, msgspec.Struct):
            continue
        if not isinstance(component, dict):
            raise ValueError("Expected a widget component, an object")
        fields = cast("dict[str, Any]", component)
        if not isinstance(fields.get("type"), str):
            raise ValueError("Expected a widget component with a `type`")
        for name in ("id", "key"):
            if not isinstance(fields.get(name), str | None):
                raise ValueError(f"Expected `str` as `{name}` of a widget component")
        waiting.extend(children_of(fields))


def children_of(component: DynamicWidgetComponent) -> list[Any]:
    """Give the children of a component of plain JSON, also where it has one only."""
    children = component.get("children")
    if children is None:
        return []
    return list(cast("list[Any]", children)) if isinstance(children, list | tuple) else [children]
