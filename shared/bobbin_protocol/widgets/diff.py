"""What changed between two states of a widget, as the updates that turn one into the other.

As the reference's ``diff_widget`` (``server.py``): where nothing but texts grew, a delta for each, else the
whole widget. Beyond it:

* Where all that changed stands in one component with an id, that component is sent and not the whole widget.
* A text that stops to stream with its last words needs no more than their delta, which says ``done``.
* Texts without an id, and texts that are an only child (of a ``Transition``), are seen to grow, too: the
  reference sends nothing for them.
* It never raises: the reference does for a text that was cut or rewritten, or that was not there before.
"""

from collections import Counter
from typing import Any, Final, TypeAlias, cast

from bobbin_protocol.updates import WidgetComponentUpdated, WidgetRootUpdated, WidgetStreamingTextValueDelta
from bobbin_protocol.widgets.tree import DynamicWidgetRoot, WidgetRoot, children_of, plain_widget
from bobbin_protocol.wire import encode_json

WidgetUpdate: TypeAlias = WidgetStreamingTextValueDelta | WidgetComponentUpdated | WidgetRootUpdated

_TEXT_TYPES: Final = frozenset({"Text", "Markdown"})


def diff_widget(before: WidgetRoot, after: WidgetRoot) -> list[WidgetUpdate]:
    """Give the updates that turn `before` into `after`, in the order of the components; none if all is equal.

    They are deltas and at most one component, or else the whole widget. Several components one after the
    other would show states of the widget that never were.
    """
    return diff_plain_widget(plain_widget(before), plain_widget(after))


def diff_plain_widget(before: DynamicWidgetRoot, after: DynamicWidgetRoot) -> list[WidgetUpdate]:
    """Do the same for what `plain_widget` gave, without copying it. The updates share parts of `after`."""
    changes = _changes(before, after, _unique_ids(before) & _unique_ids(after))
    return [WidgetRootUpdated(widget=after)] if changes is None else changes


def _changes(old: Any, new: Any, ids: frozenset[str], *, within: bool = False) -> list[WidgetUpdate] | None:
    """Compare a component with what it was.

    Args:
        old: The component before.
        new: The component after.
        ids: Those that mean one component, before, after and in between.
        within: Whether it stands in another one.

    Returns:
        Its updates; None if what it stands in must be sent as a whole.
    """
    if encode_json(old) == encode_json(new):  # what JSON tells apart, == does not always (1 and True)
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return None
    before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
    updates = _own_changes(before, after, ids)
    if updates is not None and _has_same_places(before, after):
        for old_child, new_child in zip(children_of(before), children_of(after), strict=True):
            inner = _changes(old_child, new_child, ids, within=True)
            if inner is None:
                break
            updates += inner
        else:
            if sum(isinstance(update, WidgetComponentUpdated) for update in updates) <= 1:
                return updates
    component_id = after.get("id")
    if within and component_id in ids and before.get("id") == component_id:
        return [WidgetComponentUpdated(component_id=component_id, component=after)]
    return None


def _own_changes(old: dict[str, Any], new: dict[str, Any], ids: frozenset[str]) -> list[WidgetUpdate] | None:
    """Compare two components but for their children; None if there is more to say than a delta can."""
    before, after = _without_children(old), _without_children(new)
    if encode_json(before) == encode_json(after):
        return []
    component_id, said, says = after.get("id"), before.pop("value", None), after.pop("value", None)
    if component_id not in ids or after.get("type") not in _TEXT_TYPES:
        return None
    if not (isinstance(said, str) and isinstance(says, str) and says.startswith(said) and says != said):
        return None
    if before.get("streaming") is True and after.get("streaming") is False:
        before["streaming"] = False  # as the last delta leaves it
    if encode_json(before) != encode_json(after):
        return None
    done = not after.get("streaming")
    return [WidgetStreamingTextValueDelta(component_id=component_id, delta=says[len(said) :], done=done)]


def _without_children(component: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in component.items() if name != "children"}


def _has_same_places(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether both components have as many children, in the same form."""
    same_form = type(old.get("children")) is type(new.get("children"))
    return same_form and len(children_of(old)) == len(children_of(new))


def _unique_ids(root: dict[str, Any]) -> frozenset[str]:
    """The ids that one component has alone."""
    found: Counter[str] = Counter()
    waiting: list[Any] = [root]
    while waiting:
        component = waiting.pop()
        if isinstance(component, dict):
            fields = cast("dict[str, Any]", component)
            if isinstance(component_id := fields.get("id"), str) and component_id:
                found[component_id] += 1
            waiting += children_of(fields)
    return frozenset(component_id for component_id, count in found.items() if count == 1)
