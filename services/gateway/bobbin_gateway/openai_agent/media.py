"""Files on their way to a model, and images on their way from it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from bobbin_gateway.agent import AgentError, Files
from bobbin_gateway.openai_agent.prompt import Entry, Message
from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import GeneratedImage, GeneratedImageItem
from bobbin_protocol.updates import GeneratedImageUpdated

log = structlog.get_logger()

_MOST_BYTES = 32 * 1024 * 1024
"""Of all files in one question; the APIs take about 50 MB, written as base64."""


async def loaded(entries: Sequence[Entry], files: Files | None) -> dict[str, bytes]:
    """The bytes of the attachments in a conversation, by their ids; the newest, as far as there is room.

    One that cannot be read is left out: the model still knows it by name.
    """
    found: dict[str, bytes] = {}
    room = _MOST_BYTES
    newest_first = [entry for entry in reversed(entries) if isinstance(entry, Message)]
    for attachment in (one for message in newest_first for one in reversed(message.attachments)):
        if files is None or attachment.id in found:
            continue
        try:
            data = await files.read(attachment.id)
        except AgentError as error:
            log.warning("attachment not read", attachment_id=attachment.id, **error.logged)
            continue
        room -= len(data)
        if room < 0:
            break
        found[attachment.id] = data
    return found


async def published(events: list[ThreadStreamEvent], files: Files | None) -> list[ThreadStreamEvent]:
    """The events with addresses in the place of images that they hold as a whole."""
    return events if files is None else [await _with_address(event, files) for event in events]


async def _with_address(event: ThreadStreamEvent, files: Files) -> ThreadStreamEvent:
    match event:
        case ThreadItemUpdatedEvent(update=GeneratedImageUpdated(image=image) as update):
            return replace(event, update=replace(update, image=await _published(image, files)))
        case ThreadItemAddedEvent(item=GeneratedImageItem(image=image) as item) if image is not None:
            return ThreadItemAddedEvent(item=replace(item, image=await _published(image, files)))
        case ThreadItemDoneEvent(item=GeneratedImageItem(image=image) as item) if image is not None:
            return ThreadItemDoneEvent(item=replace(item, image=await _published(image, files)))
        case _:
            return event


async def _published(image: GeneratedImage, files: Files) -> GeneratedImage:
    head, comma, data = image.url.partition(";base64,")
    if not (comma and head.startswith("data:")):
        return image
    try:
        decoded = base64.b64decode(data, validate=True)
    except binascii.Error:  # cut off somewhere: the client shows what it can
        return image
    return replace(image, url=await files.publish(decoded, head.removeprefix("data:")))
