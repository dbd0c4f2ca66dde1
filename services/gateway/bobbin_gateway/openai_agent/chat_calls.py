"""Which call of a completion a piece of one belongs to.

The dialect numbers them by ``index``, and gives id and name once, with the first piece. Servers were seen to
leave out the index (Gemini, Mistral, with whole calls in one chunk) or the id, to repeat id and name with
every piece, to give every call the index 0, or to make up a new id for every piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from bobbin_gateway.openai_agent.calls import arguments_text


class Function(Struct):
    name: str | None = None
    arguments: Any = None


class CallPiece(Struct):
    """An element of ``delta.tool_calls``."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Placed(NamedTuple):
    """Where a piece belongs."""

    place: int
    """Of the call, among those of the completion."""
    name: str
    """What the piece adds to its name."""


class ChatCalls:
    """The calls of one completion.

    Args:
        written: The arguments so far of the call at a place.
    """

    __slots__ = ("_calls", "_written")

    def __init__(self, written: Callable[[int], str]) -> None:
        self._written = written
        self._calls: list[_Call] = []

    def place(self, piece: CallPiece, position: int, count: int) -> Placed | None:
        """Find the call of a piece; None if the piece only repeats what is known.

        Args:
            piece: The piece.
            position: Where it stands in the list of its chunk.
            count: How many stand there.
        """
        function = piece.function or Function()
        name, arguments = function.name or "", arguments_text(function.arguments)
        place = self._find(piece, name, position, count)
        if place is None:
            return self._begin(piece, name)
        call = self._calls[place]
        written = self._written(place)
        if name and written and _is_whole(written):
            if piece.id and piece.id == call.id and (name, arguments) == (call.name, written):
                return None
            if arguments or name != call.name or (piece.id or call.id) != call.id:
                return self._begin(piece, name)
        elif name and self._is_another(call, piece, name, written):
            return self._begin(piece, name)
        added = "" if name == call.name else name
        call.id = call.id or piece.id or ""
        call.name += added
        return Placed(place, added)

    def _begin(self, piece: CallPiece, name: str) -> Placed:
        self._calls.append(_Call(piece.index, piece.id or "", name))
        return Placed(len(self._calls) - 1, name)

    def _find(self, piece: CallPiece, name: str, position: int, count: int) -> int | None:
        """The call that a piece goes on with, if it does not begin another."""
        if piece.index is not None:
            return self._last(lambda call: call.index == piece.index)
        known = self._last(lambda call: call.id == piece.id) if piece.id else None
        if known is not None or (piece.id and name):
            return known
        if count > 1:
            return position if position < len(self._calls) else None
        return len(self._calls) - 1 if self._calls else None

    def _last(self, fits: Callable[[_Call], bool]) -> int | None:
        places = (place for place in reversed(range(len(self._calls))) if fits(self._calls[place]))
        return next(places, None)

    def _is_another(self, call: _Call, piece: CallPiece, name: str, written: str) -> bool:
        """Whether a name begins another call, although the last one here has no whole arguments."""
        if piece.id and call.id and piece.id != call.id:
            return True
        if name == call.name:
            return not written and piece.index is None and not piece.id
        return bool(written) or piece.index is None


class _Call(Struct):
    index: int | None
    id: str
    name: str


def _is_whole(arguments: str) -> bool:
    try:
        _decode_object(arguments)
    except msgspec.DecodeError:
        return False
    return True


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
