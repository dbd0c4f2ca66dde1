"""What a turn has used, fit to be stored and counted, whatever its agent says of it."""

from __future__ import annotations

from bobbin_gateway.agent import Turn
from bobbin_protocol.store.turns import Usage

_MOST = 2**53
"""More than that no model has read, and not every reader of JSON can tell it exactly."""


def usage_of(turn: Turn) -> Usage | None:
    """The turn's tokens. It may be anyone's agent: what is no count does not cost the user the answer."""
    if not isinstance(turn.usage, Usage):
        return None
    return Usage(input_tokens=_count(turn.usage.input_tokens), output_tokens=_count(turn.usage.output_tokens))


def _count(value: object) -> int:
    return min(max(0, int(value)), _MOST) if isinstance(value, int) else 0
