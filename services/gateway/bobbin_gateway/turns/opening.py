"""What a turn is to its agent and to its first readers, from what the store says of its begin."""

from __future__ import annotations

from functools import partial

import msgspec
import structlog

from bobbin_gateway.abilities import Abilities
from bobbin_gateway.agent import Turn
from bobbin_gateway.turns.answering import Answering
from bobbin_gateway.turns.request import TurnRequest
from bobbin_gateway.turns.running import RunningTurn
from bobbin_protocol.items import (
    InferenceOptions,
    StoredItem,
    ThreadItem,
    UserMessageItem,
    WidgetItem,
    thread_item_of,
)
from bobbin_protocol.store.turns import AddStructuredInput, AddUserMessage, CreateThread, TurnBegun

log = structlog.get_logger()


class Opening:
    """A turn that the store has opened for a request."""

    def __init__(self, request: TurnRequest, begun: TurnBegun) -> None:
        self._request = request
        history = _known_items(begun.history)
        message = None if begun.message is None else _message(begun.message, history)
        self._subject = None if begun.subject is None else thread_item_of(begun.subject)
        chosen = message.inference_options if message and _brings_message(request) else InferenceOptions()
        self.turn = Turn(
            id=begun.turn_id,
            owner_id=request.owner_id,
            thread=begun.thread,
            history=history,
            message=message,
            model=chosen.model,
            tool_choice=None if chosen.tool_choice is None else chosen.tool_choice.id,
            locale=request.locale,
        )
        """As its agent sees it."""

    def tell(self, running: RunningTurn) -> None:
        """Tell the readers what the request has brought about already."""
        asked = self._request.input
        running.open(
            created=isinstance(asked, CreateThread),
            said=self.turn.message if _brings_message(self._request) else None,
            answered=self._subject if isinstance(asked, AddStructuredInput) else None,
        )

    def answering(self, abilities: Abilities) -> Answering:
        """What the agent is to do: react to an action, or answer."""
        action = self._request.action
        if action is None or abilities.acting is None:
            return partial(abilities.agent.respond, self.turn)
        sender = self._subject if isinstance(self._subject, WidgetItem) else None
        return partial(abilities.acting.on_action, self.turn, action, sender)


def _message(stored: StoredItem, history: list[ThreadItem]) -> UserMessageItem:
    """The message, which is held once only: usually it is the last item of the history."""
    if history and history[-1].id == stored["id"] and isinstance(history[-1], UserMessageItem):
        return history[-1]
    return msgspec.convert(stored, UserMessageItem)


def _known_items(items: list[StoredItem]) -> list[ThreadItem]:
    """Typed items; a kind that this version does not know is left out of the model's context."""
    known: list[ThreadItem] = []
    for item in items:
        try:
            known.append(thread_item_of(item))
        except msgspec.ValidationError as error:
            log.warning(
                "item not understood", item_id=item.get("id"), type=item.get("type"), reason=str(error)
            )
    return known


def _brings_message(request: TurnRequest) -> bool:
    """Whether what was chosen with the message was chosen (and found to be on offer) just now."""
    return isinstance(request.input, CreateThread | AddUserMessage)
