"""Files on their way to a model, and images on their way from it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent import media
from bobbin_gateway.openai_agent.media import loaded, published
from bobbin_gateway.openai_agent.prompt import Message
from bobbin_protocol.attachments import FileAttachment
from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemDoneEvent, ThreadItemUpdatedEvent
from bobbin_protocol.items import GeneratedImage, GeneratedImageItem
from bobbin_protocol.updates import GeneratedImageUpdated
from tests.unit.gateway.openai_agent.samples import IDS, assistant


class Shelf:
    """Files of one owner, in memory."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.published: list[tuple[bytes, str]] = []

    async def read(self, attachment_id: str) -> bytes:
        if attachment_id not in self.files:
            raise AgentError("It is gone.", allow_retry=False)
        return self.files[attachment_id]

    async def publish(self, data: bytes, mime_type: str) -> str:
        self.published.append((data, mime_type))
        return f"https://example.org/{len(self.published)}"


def message(*ids: str) -> Message:
    attachments = [FileAttachment(id=one, name=one, mime_type="application/pdf") for one in ids]
    return Message("user", "Look", tuple(attachments))


async def test_the_newest_files_are_loaded_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_MOST_BYTES", 10)
    shelf = Shelf(old=b"12345", mid=b"12345", new=b"12345")
    entries = [message("old"), Message("assistant", "Hm"), message("gone", "mid"), message("new", "new")]
    assert await loaded(entries, shelf) == {"new": b"12345", "mid": b"12345"}
    assert await loaded(entries, None) == {}


PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()


async def test_an_image_that_an_event_holds_is_kept_and_its_address_sent() -> None:
    image = GeneratedImage(id="i", url=PNG)
    item = GeneratedImageItem(id="x", image=image, **IDS)
    shelf = Shelf()
    events: list[Any] = [
        ThreadItemAddedEvent(item=item),
        ThreadItemUpdatedEvent(item_id="x", update=GeneratedImageUpdated(image=image, progress=0.5)),
        ThreadItemDoneEvent(item=item),
    ]
    added, updated, done = await published(events, shelf)
    assert [added.item.image.url, updated.update.image.url, done.item.image.url] == [
        f"https://example.org/{n}" for n in (1, 2, 3)
    ]
    assert updated.update.progress == 0.5
    assert shelf.published == [(b"png", "image/png")] * 3
    assert image.url == PNG  # what the agent holds is not touched


@pytest.mark.parametrize("url", ["https://example.org/i", "data:image/png;base64,!", "data:text/plain,hi"])
async def test_what_is_no_image_passes_as_it_is(url: str) -> None:
    item = GeneratedImageItem(id="x", image=GeneratedImage(id="i", url=url), **IDS)
    events: list[Any] = [
        ThreadItemDoneEvent(item=item),
        ThreadItemDoneEvent(item=GeneratedImageItem(id="y", **IDS)),
        ThreadItemDoneEvent(item=assistant("hi")),
    ]
    shelf = Shelf()
    assert await published(events, shelf) == events
    assert await published(events, None) is events
    assert shelf.published == []
