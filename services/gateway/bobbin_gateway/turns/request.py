"""What a streaming request asks of a turn."""

from __future__ import annotations

from time import monotonic

from msgspec import Struct, field

from bobbin_protocol.actions import Action
from bobbin_protocol.store.turns import AddClientToolOutput, AddStructuredInput, TurnInput


class TurnRequest(Struct, kw_only=True, frozen=True):
    """A request for a turn."""

    turn_id: str
    """Of the turn, if it is a new one."""
    owner_id: str
    thread_id: str
    input: TurnInput
    action: Action | None = None
    """What to react to (`bobbin_protocol.store.turns.HandleAction`)."""
    locale: str | None
    fingerprint: bytes
    """The same for the same request only."""
    idempotency_key: str | None
    resumable: bool
    asked_at: float = field(default_factory=monotonic)
    """When it came."""

    @property
    def was_asked_for(self) -> bool:
        """Whether it brings what a turn has asked for: that turn, if it still runs, is not in the way."""
        return isinstance(self.input, AddClientToolOutput | AddStructuredInput)
