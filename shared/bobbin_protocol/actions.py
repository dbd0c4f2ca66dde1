"""Actions: what a widget asks for when the user touches it (reference: ``actions.py``)."""

from typing import Any, Literal, TypeAlias, cast

from bobbin_protocol.wire import Wire, always

Handler: TypeAlias = Literal["client", "server"]
LoadingBehavior: TypeAlias = Literal["auto", "none", "self", "container"]


class Action(Wire):
    """An action as the client sends it back: the name and data that the widget gave it."""

    type: str
    payload: Any = None


class ActionConfig(Wire):
    """An action as a widget declares it."""

    type: str
    payload: Any = None
    """Any JSON but null. Within it too the members that are null are left out, as in the reference."""
    handler: Handler = always("server")
    """Who handles it: the page around the chat, or the server."""
    loadingBehavior: LoadingBehavior = always("auto")  # noqa: N815 (the wire's name)
    """What shows that it is under way."""
    streaming: bool = always(default=True)
    """True: sent as ``threads.custom_action``; false: as ``threads.sync_custom_action``."""

    def __post_init__(self) -> None:
        self.payload = without_nulls(self.payload)


def without_nulls(value: Any) -> Any:
    """Copy JSON-like data without the nulls in it, at any depth; tuples become lists."""
    # Loops, as a comprehension would take a second frame for each level of the data.
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for key, member in cast("dict[str, Any]", value).items():
            if member is not None:
                members[key] = without_nulls(member)
        return members
    if isinstance(value, list | tuple):
        elements: list[Any] = []
        for element in cast("list[Any]", value):
            if element is not None:
                elements.append(without_nulls(element))  # noqa: PERF401 (as above)
        return elements
    return value
