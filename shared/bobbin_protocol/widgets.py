"""Widgets: first version, trees of plain JSON."""

from typing import Any, Final, TypeAlias

DynamicWidgetComponent: TypeAlias = dict[str, Any]
DynamicWidgetRoot: TypeAlias = dict[str, Any]
WidgetComponent: TypeAlias = dict[str, Any]
WidgetRoot: TypeAlias = dict[str, Any]

ROOT_TYPES: Final = frozenset({"Card", "ListView", "Basic"})


def check_root(widget: WidgetRoot) -> WidgetRoot:
    if widget.get("type") not in ROOT_TYPES:
        raise ValueError("Expected a widget root: Card, ListView or Basic")
    return check_component(widget)


def check_component(component: WidgetComponent) -> WidgetComponent:
    if not isinstance(component.get("type"), str):
        raise ValueError("Expected a widget component with a type")
    return component
