"""What each streaming request asks of a turn, and whether it may."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_never

from msgspec import Struct

from bobbin_gateway.settings import Settings
from bobbin_protocol.actions import Action
from bobbin_protocol.ids import new_id
from bobbin_protocol.items import InferenceOptions, UserMessageItem
from bobbin_protocol.requests import (
    InvalidRequest,
    StreamingReq,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsCustomActionReq,
    ThreadsRetryAfterItemReq,
    UserMessageInput,
)
from bobbin_protocol.store.turns import (
    AddClientToolOutput,
    AddStructuredInput,
    AddUserMessage,
    CreateThread,
    HandleAction,
    RetryAfterItem,
    TurnInput,
)


class Asked(Struct, frozen=True):
    """What a request asks of a turn."""

    thread_id: str
    input: TurnInput
    action: Action | None = None


def asked_of_turn(request: StreamingReq, settings: Settings) -> Asked:
    """What the request asks.

    Raises:
        InvalidRequest: The message is empty, or asks for what is not on offer.
    """
    match request:
        case ThreadsCreateReq(params=params):
            thread_id = new_id("thread")
            message = _message(params.input, thread_id, settings)
            return Asked(thread_id, CreateThread(message=message, attachment_ids=params.input.attachments))
        case ThreadsAddUserMessageReq(params=params):
            message = _message(params.input, params.thread_id, settings)
            attachment_ids = params.input.attachments
            return Asked(params.thread_id, AddUserMessage(message=message, attachment_ids=attachment_ids))
        case ThreadsRetryAfterItemReq(params=params):
            return Asked(params.thread_id, RetryAfterItem(item_id=params.item_id))
        case ThreadsAddClientToolOutputReq(params=params):
            return Asked(params.thread_id, AddClientToolOutput(result=params.result))
        case ThreadsAddStructuredInputReq(params=params):
            answers = AddStructuredInput(item_id=params.item_id, submission=params.input)
            return Asked(params.thread_id, answers)
        case ThreadsCustomActionReq(params=params):
            return Asked(params.thread_id, HandleAction(item_id=params.item_id), params.action)
        case _:
            assert_never(request)


def _message(user_input: UserMessageInput, thread_id: str, settings: Settings) -> UserMessageItem:
    if not (
        user_input.attachments or user_input.quoted_text or any(p.text.strip() for p in user_input.content)
    ):
        raise InvalidRequest("The message is empty", "params.input.content")
    _check_choices(user_input.inference_options, settings)
    return UserMessageItem(
        id=new_id("message"),
        thread_id=thread_id,
        created_at=datetime.now(UTC),
        content=user_input.content,
        quoted_text=user_input.quoted_text,
        inference_options=user_input.inference_options,
    )


def _check_choices(options: InferenceOptions, settings: Settings) -> None:
    """Let the client choose among what is on offer only."""
    field = "params.input.inference_options"
    if options.model is not None and not settings.offers_model(options.model):
        raise InvalidRequest(f"The model {options.model!r} is not on offer", f"{field}.model")
    tool = options.tool_choice
    if tool is not None and not settings.offers_tool_choice(tool.id):
        raise InvalidRequest(f"The tool {tool.id!r} is not on offer", f"{field}.tool_choice")
