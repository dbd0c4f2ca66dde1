"""Turns: begun in one call and finished in one call (``/v1/turns``)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from bobbin_protocol.ids import Id
from bobbin_protocol.items import StoredItem, UserMessageItem
from bobbin_protocol.requests import Title
from bobbin_protocol.store.journal import JournalChunk
from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.structured_input import StructuredInputSubmission
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


class AddClientToolOutput(Wire, tag="add_client_tool_output"):
    """Complete the client tool call that the thread ends with, remove others that still wait, and go on.

    Hidden items may stand behind the call. 409 ``no_pending_call`` if the thread does not end with a pending
    call.
    """

    result: Any = None


class AddStructuredInput(Wire, tag="add_structured_input"):
    """Put the user's answers into the questions (`bobbin_protocol.structured_input`), and go on.

    404 for an unknown item; 409 ``not_pending`` if it is not open any more; 400 if it has no questions.
    """

    item_id: Id
    submission: StructuredInputSubmission


class HandleAction(Wire, tag="handle_action"):
    """React to an action; nothing is changed.

    404 for an unknown sender; 400 ``wrong_sender`` if it is no widget.
    The one input that locked and closed threads take: nothing of the user's gets into the thread, and it may
    well be a button that opens the thread again.
    """

    item_id: Id | None = None
    """The widget that sent it."""


TurnInput: TypeAlias = (
    CreateThread | AddUserMessage | RetryAfterItem | AddClientToolOutput | AddStructuredInput | HandleAction
)


class BeginTurn(Wire):
    """``POST /v1/turns``: everything that must happen before an answer can start, in one transaction.

    The answer is a `BeginAnswer`. Repeating a begin with the same turn id gives the same answer and changes
    nothing.

    Errors: 404 for an unknown thread, item or attachment; 409 ``thread_locked`` or ``thread_closed``;
    409 ``turn_running`` when another turn runs and `if_running` is ``refuse``; 409 ``conflict`` for a thread
    or item id that is taken; 422 ``key_reused`` for an idempotency key that came with another fingerprint.
    """

    turn_id: Id
    thread_id: Id
    input: TurnInput
    history_limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    """How many of the thread's last items come back as context, the new message included."""
    gateway_id: Id | None = None
    """Whose lease the turn is under. Without one it has no lease: nobody takes it over, nobody cancels it."""
    if_running: Literal["refuse", "supersede"] = "supersede"
    """What to do about a turn that runs in the thread. Superseded it is ``interrupted``: what its gateway
    then has to say of it is stored behind the new message, but not after a retry, which drops it."""
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    """A begin with a key that one of the owner's turns came with joins that turn."""
    fingerprint: bytes | None = None
    """A hash of the request, the same for the same request only."""
    resend_window_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """How long after a turn lost its last reader a begin with its fingerprint, and no key, is taken for the
    same request sent again. One that still runs, or ended by itself, is joined; one that was cancelled is
    answered again, as a new turn for the old message. 0: never."""


class TurnBegun(Wire, tag="begun"):
    """The turn runs: the thread as it stands, and its last items (hidden ones included), oldest first.

    The thread may be another than was asked for, when the request was an earlier one sent again.
    """

    turn_id: str
    thread: ThreadMetadata
    history: list[StoredItem]
    message: StoredItem | None = None
    """The user message that the turn answers, as stored; None if it goes on from something else."""
    subject: StoredItem | None = None
    """What it goes on from then: the completed call, the answered questions, the sender of an action (None if
    the page around the chat sent it)."""


class TurnJoined(Wire, tag="joined"):
    """The request came before: nothing has changed, its answer is the answer of this turn."""

    turn_id: str
    thread_id: str
    state: TurnState


BeginAnswer: TypeAlias = TurnBegun | TurnJoined


class Usage(Wire):
    """Tokens as the model's provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


class AddTurnItems(Wire):
    """``POST /v1/turns/{turn_id}/items``: store items of a turn that runs, before its end.

    For what has had effects outside, such as results of tools: a crash must not make the model forget them.
    The finish may bring them again, and gives them their place among the turn's other items. Repeating it
    changes nothing. A turn whose place a retry has removed stores nothing.

    Errors: 404 for an unknown turn; 409 ``lease_lost`` when it is under another gateway's lease; 409
    ``conflict`` when it has ended.
    """

    items: list[StoredItem]
    gateway_id: Id | None = None
    """As in the begin."""


class FinishTurn(Wire):
    """``POST /v1/turns/{turn_id}/finish``: the whole outcome of a turn, in one transaction.

    Repeating it changes nothing. A superseded turn stays ``interrupted``, whatever its end. A turn that has
    already ended is never overwritten: 409 ``conflict`` when it ended in another state. 409 ``lease_lost``
    when it is under another gateway's lease than `gateway_id`, ended or not.
    """

    state: EndState
    items: list[StoredItem] = always(list)
    """Items to add in this order; one whose id is there already takes the place of the old, unless the turn
    itself has stored it early."""
    removed_item_ids: list[Id] = always(list)
    thread: ThreadChange | None = None
    suggested_title: Title | None = None
    """A name for the thread, if it has none by now."""
    usage: Usage | None = None
    error: str | None = None
    """For people who look into a failed turn; never shown to its owner."""
    gateway_id: Id | None = None
    """As in the begin."""
    event_count: Annotated[int, Meta(ge=0)] = 0
    """How many events the turn had."""
    journal: list[JournalChunk] = always(list)
    """The events that the journal lacks, if it has any of this turn's."""
    deserted: bool | None = None
    """Whether its last reader was lost before its end (`BeginTurn.resend_window_s`); None: no change."""


class TurnFinished(Wire):
    """The thread after the turn."""

    turn_id: str
    state: TurnState
    thread: ThreadMetadata


class TurnRecord(Wire):
    """``GET /v1/turns/{turn_id}``, and the answer of ``cancel``, ``desert`` and ``join``."""

    id: str
    thread_id: str
    state: TurnState
    started_at: datetime
    ended_at: datetime | None = None
    usage: Usage | None = None
    error: str | None = None
    event_count: int | None = None
    """How many events the turn had; None while it runs."""
    cancel_requested: bool = False


class CancelTurn(Wire):
    """``POST /v1/turns/{turn_id}/cancel``: ask whoever runs the turn to stop it, unless it has ended."""

    only_if_deserted: bool = False
    """Not if someone has joined it since its last reader was lost."""


class JoinTurn(Wire):
    """``POST /v1/turns/{turn_id}/join``: someone reads the turn, who is not known by a begin.

    The answer is a `TurnRecord`. The turn is deserted no more, also if it has ended.
    """

    reader_id: Id


class DesertTurn(Wire):
    """``POST /v1/turns/{turn_id}/desert``: a gateway has lost its last reader of a turn that runs.

    The answer is a `TurnRecord`. The turn is deserted now, unless someone has joined it on another gateway.
    """

    reader_id: Id | None = None
    """Who was the last to join it as far as the gateway knows: the `turn_id` of their begin, or the
    `reader_id` of their join."""


class TurnResult(Wire):
    """``GET /v1/turns/{turn_id}/items``: what became of a turn, in its final form."""

    turn: TurnRecord
    thread: ThreadMetadata
    created_thread: bool
    """Whether its message is the first of the thread."""
    items: list[StoredItem]
    """The visible items of the turn that are still there, oldest first: its message or the questions whose
    answers began it, what it has made, what it has replaced."""
