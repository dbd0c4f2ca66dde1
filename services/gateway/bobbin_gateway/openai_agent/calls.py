"""The calls of functions that a model asks for in one round, put together from their pieces."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.tool import ToolCall
from bobbin_protocol.wire import encode_json


class OpenCall(Struct, array_like=True):
    """A call in the making."""

    place: int
    """Where the provider has it, among the calls of the round."""
    call_id: str
    """As in `ToolCall`."""
    name: str
    arguments: list[str]
    """In pieces."""

    def written(self) -> str:
        """The arguments as far as they go."""
        if len(self.arguments) > 1:
            self.arguments = ["".join(self.arguments)]
        return self.arguments[0] if self.arguments else ""


class Calls:
    """The calls of a round, in the order in which they began.

    Ids are the provider's, but for those that it does not give, or has given in this turn before.
    """

    __slots__ = ("_open", "_turn", "_used")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._open: dict[int, OpenCall] = {}
        self._used: dict[str, None] = {}

    def restore(self, calls: Iterable[OpenCall], used: Iterable[str]) -> None:
        """Go on with these calls."""
        self._open = {call.place: call for call in calls}
        self._used = dict.fromkeys(used)

    def state(self) -> list[OpenCall]:
        """The calls of the round, as `restore` needs them."""
        return [
            OpenCall(call.place, call.call_id, call.name, [call.written()]) for call in self._open.values()
        ]

    @property
    def used(self) -> list[str]:
        """The ids of all calls of the turn."""
        return list(self._used)

    def made(self) -> list[ToolCall]:
        """The calls of the round as they stand. No arguments at all are an empty object."""
        return [
            ToolCall(call_id=call.call_id, name=call.name, arguments=call.written() or "{}")
            for call in self._open.values()
        ]

    def written(self, place: int) -> str:
        """The arguments so far of the call at that place."""
        call = self._open.get(place)
        return call.written() if call else ""

    def at(self, place: int, call_id: str = "") -> OpenCall:
        """The call at that place, which begins if there is none."""
        call = self._open.get(place)
        if call is None:
            if not call_id or call_id in self._used:
                call_id = self._turn.new_id("tool_call")
            self._used[call_id] = None
            call = self._open[place] = OpenCall(place, call_id, "", [])
        return call

    def next_round(self) -> None:
        """Forget the calls, but not their ids."""
        self._open = {}


def arguments_text(arguments: object) -> str:
    """The arguments of a call, or a piece of them, as text; some servers send an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return encode_json(arguments).decode()
