"""Turns: begun in one call and finished in one call (``/v1/turns``)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from bobbin_protocol.ids import Id
from bobbin_protocol.items import StoredItem, UserMessageItem
from bobbin_protocol.requests import Title
from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import Wire, always

TurnState = Literal["running", "completed", "cancelled", "failed", "interrupted"]
EndState = Literal["completed", "cancelled", "failed", "interrupted"]


class CreateThread(Wire, tag="create_thread"):
    """Make the turn's thread and put the message into it."""

    message: UserMessageItem
    """Without attachments: the store fills them in from `attachment_ids`."""
    attachment_ids: list[Id] = always(list)


class AddUserMessage(Wire, tag="add_user_message"):
    """Append the message to the turn's thread."""

    message: UserMessageItem
    attachment_ids: list[Id] = always(list)


class RetryAfterItem(Wire, tag="retry_after_item"):
    """Remove every item after this user message, then answer it again."""

    item_id: Id


TurnInput: TypeAlias = CreateThread | AddUserMessage | RetryAfterItem


class BeginTurn(Wire):
    """``POST /v1/turns``: everything that must happen before an answer can start, in one transaction.

    A turn that still runs in the thread is superseded: ``interrupted``. What its gateway then has to say of
    it is stored behind the new message, but not after a retry, which drops it. Repeating a begin with the
    same turn id gives the same answer and changes nothing.

    Errors: 404 for an unknown thread, item or attachment; 409 ``thread_locked`` or ``thread_closed``;
    409 ``conflict`` for a thread or item id that is taken.
    """

    turn_id: Id
    thread_id: Id
    input: TurnInput
    history_limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    """How many of the thread's last items come back as context, the new message included."""


class TurnBegun(Wire):
    """The thread as it stands, and its last items (hidden ones included), oldest first."""

    turn_id: str
    thread: ThreadMetadata
    history: list[StoredItem]
    message: StoredItem
    """The user message that the turn answers, as stored."""


class Usage(Wire):
    """Tokens as the model's provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


class FinishTurn(Wire):
    """``POST /v1/turns/{turn_id}/finish``: the whole outcome of a turn, in one transaction.

    Repeating it changes nothing. A superseded turn stays ``interrupted``, whatever its end. A turn that has
    already ended is never overwritten: 409 ``conflict`` when it ended in another state.
    """

    state: EndState
    items: list[StoredItem] = always(list)
    """Items to add in this order; one whose id is there already takes the place of the old."""
    removed_item_ids: list[Id] = always(list)
    thread: ThreadChange | None = None
    suggested_title: Title | None = None
    """A name for the thread, if it has none by now."""
    usage: Usage | None = None
    error: str | None = None
    """For people who look into a failed turn; never shown to its owner."""


class TurnFinished(Wire):
    """The thread after the turn."""

    turn_id: str
    state: TurnState
    thread: ThreadMetadata


class TurnRecord(Wire):
    """``GET /v1/turns/{turn_id}``."""

    id: str
    thread_id: str
    state: TurnState
    started_at: datetime
    ended_at: datetime | None = None
    usage: Usage | None = None
    error: str | None = None
