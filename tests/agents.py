"""An agent that does, at a word, what agents of other people may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

from bobbin_gateway.agent import AgentError, Turn
from bobbin_protocol.events import (
    NoticeEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import (
    AssistantMessageContent,
    AssistantMessageItem,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
)
from bobbin_protocol.threads import LockedStatus
from bobbin_protocol.updates import AssistantMessageContentPartTextDelta


class Panic(BaseException):
    """What extensions in Rust raise when they find a bug of their own (PyO3's ``PanicException``)."""


class Awkward:
    """The message says what to do."""

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:  # noqa: C901, PLR0912 (a case per word)
        word = "".join(part.text for part in turn.message.content) if turn.message else ""
        said = _message(turn, "as far as it got")
        yield ThreadItemAddedEvent(item=_message(turn, "", said.id))
        yield ThreadItemUpdatedEvent(
            item_id=said.id,
            update=AssistantMessageContentPartTextDelta(content_index=0, delta="as far as it got"),
        )
        match word:
            case "raise":
                raise RuntimeError("secret internals")
            case "panic":
                raise Panic("at the disco")
            case "refuse":
                raise AgentError("Not today.", allow_retry=False, detail="for the log")
            case "surrogate":
                yield ThreadItemDoneEvent(item=_message(turn, "\ud800", said.id))
            case "deaf":
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    yield NoticeEvent(level="info", message="I go on")
            case "stone deaf":
                end = asyncio.get_running_loop().time() + 20
                while asyncio.get_running_loop().time() < end:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(1)
            case "desert":
                raise asyncio.CancelledError
            case "long title":
                turn.thread.title = "x" * 501
                yield ThreadItemDoneEvent(item=said)
            case "no json":
                turn.thread.metadata["handle"] = object()
                yield ThreadItemDoneEvent(item=said)
            case "hidden":
                yield ThreadItemDoneEvent(item=said)
                yield ThreadItemDoneEvent(item=_hidden(turn))
            case "remove":
                yield ThreadItemDoneEvent(item=said)
                yield ThreadItemRemovedEvent(item_id=said.id)
            case "replace":
                yield ThreadItemDoneEvent(item=said)
                yield ThreadItemReplacedEvent(item=_message(turn, "something else", said.id))
            case "lock":
                turn.thread.title = "Locked"
                turn.thread.status = LockedStatus(reason="enough")
                turn.thread.metadata["secret"] = 1
                yield ThreadItemDoneEvent(item=said)
            case _:
                yield ThreadItemDoneEvent(item=said)


def _message(turn: Turn, text: str, item_id: str | None = None) -> AssistantMessageItem:
    return AssistantMessageItem(
        id=item_id or turn.new_id("message"),
        thread_id=turn.thread.id,
        created_at=datetime.now(UTC),
        content=[AssistantMessageContent(text=text)] if text else [],
    )


def _hidden(turn: Turn) -> HiddenContextItem:
    return HiddenContextItem(
        id=turn.new_id("message"),
        thread_id=turn.thread.id,
        created_at=datetime.now(UTC),
        content={"note": "for the model only"},
    )


awkward = Awkward()


class Filing:
    """Says what was attached, by its hash, and draws what the message says."""

    async def respond(self, turn: Turn) -> AsyncIterator[ThreadStreamEvent]:
        assert turn.files is not None
        assert turn.message is not None
        seen = [await turn.files.read(attachment.id) for attachment in turn.message.attachments]
        yield ThreadItemDoneEvent(item=_message(turn, " ".join(sha256(data).hexdigest() for data in seen)))
        drawn = "".join(part.text for part in turn.message.content).encode("latin-1")
        image = GeneratedImage(
            id=turn.new_id("message"), url=await turn.files.publish(drawn, "image/png;base64")
        )
        yield ThreadItemDoneEvent(
            item=GeneratedImageItem(
                id=turn.new_id("message"), thread_id=turn.thread.id, created_at=datetime.now(UTC), image=image
            )
        )


filing = Filing()
