"""What an agent is given and what it gives back.

An agent is any object with a ``respond`` method that turns a :class:`Turn` into ChatKit events.
It never touches HTTP, the store or the journal. What else an agent may be able to do stands in protocols of
its own, each with one method: an agent has the ability if it has the method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

from msgspec import Struct

from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.ids import IdKind, new_id
from bobbin_protocol.items import ThreadItem, UserMessageItem, WidgetItem
from bobbin_protocol.requests import AudioInput, FeedbackKind
from bobbin_protocol.responses import SyncCustomActionResponse
from bobbin_protocol.store.turns import Usage
from bobbin_protocol.threads import ThreadMetadata


class Files(Protocol):
    """One owner's files."""

    async def read(self, attachment_id: str) -> bytes:
        """The bytes of an attachment.

        Raises:
            AgentError: They are not there (any more), or cannot be reached.
        """
        ...

    async def publish(self, data: bytes, mime_type: str) -> str:
        """Keep a file that the agent has made; gives a URL by which the client can load it, now and later.

        Raises:
            AgentError: It cannot be kept.
        """
        ...


class Turn(Struct, kw_only=True):
    """One turn, as its agent sees it."""

    id: str
    owner_id: str
    thread: ThreadMetadata
    """An agent may change title, status or metadata: the change is stored and sent as `thread.updated`."""
    history: list[ThreadItem]
    """The thread's last items, oldest first, the message to answer included, hidden items too."""
    message: UserMessageItem | None
    """What the user just said (or said again by retry); None if the turn goes on from something else: the
    output of a client tool, answers to questions (both are in the history by then), or an action."""
    model: str | None = None
    """The model that the client chose among those on offer."""
    tool_choice: str | None = None
    """The tool that the client chose among those on offer."""
    locale: str | None = None
    """The client's ``Accept-Language``, as sent."""
    usage: Usage | None = None
    """Set by the agent; stored with the turn."""
    files: Files | None = None
    """The owner's attachments, and a place for images that the agent makes; None: there is none."""
    checkpoint: bytes | None = None
    """Where another process could go on (`ContinuingAgent`), after exactly the events yielded so far.

    An agent that can do that sets it between two events, so whoever takes in the events looks here before it
    takes in the next, and may look at any time in between. The journal takes events up to the last checkpoint
    only."""
    handed_over: bool = False
    """Set before the agent is stopped because another gateway goes on with the turn: what the agent has set
    going elsewhere must then be left alone, if there is a checkpoint to find it by."""

    @property
    def text(self) -> str:
        """What the user just said, tags by their text; empty if the turn goes on from something else."""
        return "".join(part.text for part in self.message.content) if self.message else ""

    def new_id(self, kind: IdKind) -> str:
        """An id for a new item of this turn. Provider ids are not unique and must not be used."""
        return new_id(kind)


class Agent(Protocol):
    """Answers turns."""

    def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        """Yield the events of the answer, as they come to be.

        Items are announced by ``thread.item.added`` (or come whole in ``thread.item.done``); those that are
        not done when the turn is cancelled or fails are kept as far as they got.
        """
        ...


@runtime_checkable
class ContinuingAgent(Protocol):
    """An agent whose turns can be continued by another process, after the one that began them has died."""

    def resume(
        self, turn: Turn, said: list[ThreadItem], checkpoint: bytes
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Go on with a turn after the checkpoint, as `respond` would have.

        Args:
            turn: Its history may be empty.
            said: The turn's items as they stood at the checkpoint; those that are not done are continued
                under their ids.
            checkpoint: What `Turn.checkpoint` was, perhaps set by another version of the agent.

        Raises:
            AgentError: It cannot be continued any more.
        """
        ...

    async def abandon(self, checkpoint: bytes) -> None:
        """Stop what still goes on elsewhere for a turn that nobody will continue; never fails."""
        ...


@runtime_checkable
class ActingAgent(Protocol):
    """An agent that reacts to actions of widgets and of the page around the chat."""

    def on_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Yield the events of the reaction (``threads.custom_action``), as `Agent.respond` does.

        Args:
            turn: Its history ends where the thread ends.
            action: What was asked for. Its payload comes from the client: check it.
            sender: The widget that sent it; None when the page did.
        """
        ...


@runtime_checkable
class SyncActingAgent(Protocol):
    """An agent that reacts to actions with ``streaming: false``, also while a turn runs in the thread."""

    async def on_sync_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> SyncCustomActionResponse:
        """React (``threads.sync_custom_action``); an updated item takes the place of the one with its id.

        Args:
            turn: Not a turn that runs: it says who asks and in which thread; its history is empty.
            action: As for `ActingAgent`.
            sender: The same.

        Raises:
            AgentError: It cannot be done.
        """
        ...


@runtime_checkable
class FeedbackAgent(Protocol):
    """An agent that wants to know what users think of its answers, beside the store, which keeps it."""

    async def on_feedback(
        self, owner_id: str, thread_id: str, item_ids: list[str], kind: FeedbackKind
    ) -> None:
        """Take note of it, once it is stored."""
        ...


@runtime_checkable
class TranscribingAgent(Protocol):
    """An agent that writes down what users say (``input.transcribe``)."""

    async def transcribe(self, owner_id: str, audio: AudioInput) -> str:
        """The text.

        Raises:
            AgentError: It cannot be transcribed.
        """
        ...


@runtime_checkable
class TitlingAgent(Protocol):
    """An agent that also names threads."""

    async def title(self, turn: Turn) -> str | None:
        """A short title for the thread, from its first message; None when there is none to give."""
        ...


class AgentError(Exception):
    """An agent could not go on: whose fault it is does not matter, what to tell the user does.

    Args:
        message: One or two sentences for the user.
        allow_retry: Whether the client offers to try again.
        detail: For the turn's record and the log; never shown.
        kind: One of few words for the metrics, which count failed turns by it.
        facts: For the log in place of a detail that may hold what users or models write.
    """

    def __init__(
        self,
        message: str,
        *,
        allow_retry: bool,
        detail: str = "",
        kind: str = "agent",
        facts: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.allow_retry = allow_retry
        self.detail = detail
        self.kind = kind
        self.facts = facts

    @property
    def logged(self) -> Mapping[str, str | int]:
        """What the log may hold of it."""
        facts = self.facts
        if facts is None:
            facts = {"detail": self.detail} if self.detail else {}
        return {"reason": self.kind, **facts}
