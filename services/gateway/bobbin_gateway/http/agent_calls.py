"""JSON requests that an agent has to do with, beside the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog

from bobbin_gateway.agent import AgentError, Turn
from bobbin_gateway.gateway import Gateway
from bobbin_gateway.store import StoreRefused
from bobbin_gateway.turns.ending import thread_change
from bobbin_protocol.ids import new_id
from bobbin_protocol.items import HIDDEN_ITEM_TYPES, ThreadItem, WidgetItem, thread_item_of
from bobbin_protocol.requests import (
    InputTranscribeParams,
    InvalidRequest,
    ItemFeedbackParams,
    ThreadCustomActionParams,
    decode_audio,
)
from bobbin_protocol.responses import SyncCustomActionResponse, TranscriptionResult
from bobbin_protocol.store.feedback import NewFeedback
from bobbin_protocol.threads import ThreadMetadata

log = structlog.get_logger()

_FEEDBACK_S = 10.0
"""How long an agent may take to note feedback."""


async def sync_action(
    gateway: Gateway, owner_id: str, params: ThreadCustomActionParams, locale: str | None
) -> SyncCustomActionResponse:
    """Let the agent react to an action, also while a turn runs; what it changes is stored.

    Raises:
        InvalidRequest: The agent reacts to none, or the sender is no widget.
        StoreRefused: No such thread or item.
        AgentError: It cannot be done.
    """
    agent = gateway.abilities.sync_acting
    if agent is None:
        raise InvalidRequest("This server handles no actions of this kind", "type")
    thread = (await gateway.store.get_thread(owner_id, params.thread_id)).thread
    sender = await _sender(gateway, owner_id, params)
    turn = Turn(
        id=new_id("turn"),
        owner_id=owner_id,
        thread=thread,
        history=[],
        message=None,
        locale=locale,
        files=gateway.attachments.of(owner_id, thread.id),
    )
    before = msgspec.convert(msgspec.to_builtins(thread), ThreadMetadata)  # the agent may change it in place
    async with _in_good_time(gateway.settings.turn_timeout_s):
        response = await agent.on_sync_action(turn, params.action, sender)
    await _store_changes(gateway, owner_id, before, turn.thread, response.updated_item)
    if response.updated_item is not None and _type_of(response.updated_item) in HIDDEN_ITEM_TYPES:
        return SyncCustomActionResponse()
    return response


async def _sender(gateway: Gateway, owner_id: str, params: ThreadCustomActionParams) -> WidgetItem | None:
    if params.item_id is None:
        return None
    item = thread_item_of(await gateway.store.get_item(owner_id, params.thread_id, params.item_id))
    if not isinstance(item, WidgetItem):
        raise InvalidRequest("Only a widget can send an action", "params.item_id")
    return item


async def _store_changes(
    gateway: Gateway, owner_id: str, before: ThreadMetadata, after: ThreadMetadata, item: ThreadItem | None
) -> None:
    try:
        if item is not None:
            document: dict[str, Any] = msgspec.to_builtins(item)
            await gateway.store.put_item(owner_id, before.id, item.id, document)
        if (change := thread_change(before, after)) is not None:
            await gateway.store.change_thread(owner_id, before.id, change)
    except StoreRefused as refused:
        if refused.problem.code != "invalid_request":
            raise
        raise ValueError(f"the agent's change is refused: {refused}") from refused  # not the client's fault
    if after.title is not None and after.title != before.title:
        gateway.engine.rename(owner_id, before.id, after.title)
    gateway.engine.watcher.hurry(owner_id)


def _type_of(item: ThreadItem) -> str:
    return str(item.__struct_config__.tag)


async def note_feedback(gateway: Gateway, owner_id: str, params: ItemFeedbackParams) -> None:
    """Store an opinion, then tell the agent; the user has no part in what the agent makes of it.

    Raises:
        StoreRefused: No such item.
    """
    feedback = NewFeedback(item_ids=params.item_ids, kind=params.kind)
    await gateway.store.add_feedback(owner_id, params.thread_id, feedback)
    agent = gateway.abilities.feedback
    if agent is None:
        return
    try:
        async with asyncio.timeout(_FEEDBACK_S):
            await agent.on_feedback(owner_id, params.thread_id, params.item_ids, params.kind)
    except Exception:  # it is anyone's code
        log.exception("agent cannot note feedback", thread_id=params.thread_id)


async def transcribe(gateway: Gateway, owner_id: str, params: InputTranscribeParams) -> TranscriptionResult:
    """Let the agent write down what was said.

    Raises:
        InvalidRequest: The agent cannot do that, or there is no recording.
        AgentError: It cannot be transcribed.
    """
    agent = gateway.abilities.transcribing
    if agent is None:
        raise InvalidRequest("This server does not transcribe speech", "type")
    audio = decode_audio(params)
    if not audio.data:
        raise InvalidRequest("The recording is empty", "params.audio_base64")
    async with _in_good_time(gateway.settings.turn_timeout_s):
        return TranscriptionResult(text=await agent.transcribe(owner_id, audio))


@asynccontextmanager
async def _in_good_time(wait_s: float) -> AsyncGenerator[None]:
    """Give an agent no more than this time within the block; log what it says of its failure."""
    try:
        async with asyncio.timeout(wait_s):
            yield
    except TimeoutError as error:
        log.warning("agent took too long", after_s=wait_s)
        raise AgentError("This took too long and was stopped.", allow_retry=True) from error
    except AgentError as error:
        log.warning("agent could not do it", **error.logged)
        raise
