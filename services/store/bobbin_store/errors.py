"""What can go wrong in the store, told apart by whose fault it is."""

from __future__ import annotations


class StoreError(Exception):
    """Root of all errors that the store raises on purpose. The text is meant for the caller."""


class InvalidRequest(StoreError):
    """The caller sent something that cannot be meant; `field` says where."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class UnsupportedMediaType(StoreError):
    """The body is in a format that the store does not speak."""


class Unauthorized(StoreError):
    """The caller did not show the service token."""


class NotFound(StoreError):
    """There is no such thing, or it is another owner's; `field` names the id at fault."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Conflict(StoreError):
    """The wish contradicts what is stored: an id is taken, or a turn has ended otherwise."""


class ThreadLocked(StoreError):
    """The thread takes no messages for now."""


class ThreadClosed(StoreError):
    """The thread takes no messages any more."""


class NoPendingCall(StoreError):
    """The thread does not end with a client tool call that waits for its output."""


class NotPending(StoreError):
    """The questions are not open any more."""


class WrongSender(StoreError):
    """An action is said to come from an item that is no widget; `field` says where."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class TurnRunning(StoreError):
    """A turn runs in the thread, and the caller would rather wait for its end."""

    def __init__(self, turn_id: str) -> None:
        super().__init__("Another turn runs in this thread")
        self.turn_id = turn_id


class LeaseLost(StoreError):
    """The turn is under the lease of another gateway by now."""


class KeyReused(StoreError):
    """The idempotency key came with another request before."""


class Unavailable(StoreError):
    """The database is away or too busy: nobody's fault here, and worth another try."""


class CannotStart(StoreError):
    """The store cannot come up; the text says why in one line, for the operator."""
