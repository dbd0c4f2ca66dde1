"""Answers that go on at the provider when their connection, or this process, is gone.

OpenAI's background mode (developers.openai.com/api/docs/guides/background): every event of a response has a
`sequence_number`; ``GET /responses/{id}?stream=true&starting_after=N`` gives the events after one of them, to
whoever asks, for some minutes. Closing the connection does not stop such a response, ``POST
/responses/{id}/cancel`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import httpx2
import msgspec
import openai
import structlog
from openai import AsyncOpenAI

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.body import drain, open_body
from bobbin_gateway.openai_agent.resumable import ResumableReader, decode_checkpoint, first_event
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_gateway.openai_agent.work import Titles
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import ThreadItem

log = structlog.get_logger()

_MOST_IN_VAIN = 5
"""Connections in a row that may break without a single new event."""
_FIRST_PAUSE_S = 0.1
"""Before the connection is made again; each one in vain doubles it."""
_STOP_TIMEOUT_S = 10.0
_MAX_HEAD_SIZE = 65_536
"""Bytes within which a stream has a first event."""


class BackgroundResponses:
    """Begins, continues and stops responses in the background."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client
        self._stopping: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait until the provider has been told what to stop."""
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def respond(
        self, turn: Turn, reader: ResumableReader, post: Callable[[], Awaitable[httpx2.Response]]
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Begin a response by `post`, and stream it to its end.

        Raises:
            AgentError: The model service failed; what it said before has been yielded.
        """
        opening = asyncio.create_task(_open(post, reader.answer))
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._later(self._stop_unread(opening))
            raise
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_exception(error) from error
        body = _chained(opened.head, opened.rest)
        async with aclosing(self._follow(turn, reader, body)) as events:
            async for event in events:
                yield event

    async def resume(self, turn: Turn, reader: ResumableReader) -> AsyncGenerator[ThreadStreamEvent]:
        """Stream the rest of a response, after what has been read of it.

        Raises:
            AgentError: The provider does not have it any more, or failed.
        """
        async with aclosing(self._follow(turn, reader, self._read_on(reader))) as events:
            async for event in events:
                yield event

    async def abandon(self, checkpoint: bytes) -> None:
        """Stop a response that nobody will read on. What goes wrong is logged."""
        if is_acting(checkpoint):
            return
        try:
            response_id = decode_checkpoint(checkpoint).response_id
        except msgspec.MsgspecError as error:
            log.warning("bad checkpoint", reason=str(error))
        else:
            await self._stop(response_id)

    async def _follow(
        self, turn: Turn, reader: ResumableReader, body: AsyncGenerator[bytes]
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Stream a response to its end, over as many connections as that takes."""
        answer, in_vain = reader.answer, 0
        try:
            while True:
                stream, before, cut = ModelStream(answer, reader), reader.position, None
                try:
                    async with aclosing(body) as chunks:
                        async for chunk in chunks:
                            for events in stream.feed(chunk):
                                for event in events:
                                    yield event
                                turn.checkpoint = reader.checkpoint() or turn.checkpoint
                            if answer.over:
                                break
                        if answer.over:
                            await drain(chunks)
                except failures.TRANSPORT_ERRORS as error:
                    cut = failures.from_exception(error)
                if answer.over or (cut is None and not reader.can_resume):
                    break
                in_vain = 0 if reader.position > before else in_vain + 1
                if in_vain > _MOST_IN_VAIN or not reader.can_resume:
                    raise cut or failures.broken_off()
                await asyncio.sleep(_FIRST_PAUSE_S * 2**in_vain)
                body = self._read_on(reader)
            for event in stream.finish():
                yield event
        finally:
            turn.usage = answer.usage
            goes_on = turn.handed_over and turn.checkpoint is not None
            if reader.response_id and not answer.over and not goes_on:
                self._later(self._stop(reader.response_id))

    async def _read_on(self, reader: ResumableReader) -> AsyncGenerator[bytes]:
        """The body of the response, after the events that have been read."""
        try:
            response = await self._client.responses.with_raw_response.retrieve(
                reader.response_id or "", stream=True, starting_after=reader.position
            )
        except openai.APIStatusError as error:
            if error.status_code in _PASSING:
                raise
            reader.response_id = None
            raise failures.broken_off(f"cannot be resumed: HTTP {error.status_code}: {error}") from error
        reader.skip_to_position()
        async with aclosing(_chunks(response.http_response, reader.answer)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _stop_unread(self, opening: asyncio.Task[_Opened]) -> None:
        """Stop a response that was asked for and has not been read yet: its name is needed first."""
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                opened = await opening
                await opened.rest.aclose()
        except failures.TRANSPORT_ERRORS as error:
            log.warning("response perhaps not stopped", **failures.from_exception(error).logged)
        else:
            first = first_event(opened.head)
            if first is not None and first.response_id:
                await self._stop(first.response_id)

    async def _stop(self, response_id: str) -> None:
        try:
            await self._client.responses.with_raw_response.cancel(response_id, timeout=_STOP_TIMEOUT_S)
        except openai.BadRequestError as error:
            logged = failures.from_exception(error).logged
            log.debug("response not stopped: it has ended", response_id=response_id, **logged)
        except failures.TRANSPORT_ERRORS as error:
            logged = failures.from_exception(error).logged
            log.warning("response not stopped", response_id=response_id, **logged)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it while the turn ends without waiting for it."""
        task = asyncio.create_task(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


def reader_at(turn: Turn, said: Sequence[ThreadItem], checkpoint: bytes, titles: Titles) -> ResumableReader:
    """The reader of a response as it was at a checkpoint.

    Raises:
        AgentError: There is no going on from there.
    """
    if is_acting(checkpoint):
        raise failures.broken_off("tools were running: nobody knows how far they got")
    try:
        return ResumableReader.restored(turn, said, decode_checkpoint(checkpoint), titles)
    except (msgspec.MsgspecError, LookupError) as error:
        raise failures.broken_off(f"bad checkpoint: {error!r}") from error


_ACTING = b"acting"


def acting_checkpoint() -> bytes:
    """A checkpoint, each time another one, of a turn whose tools run: it cannot be continued elsewhere."""
    return bytes(bytearray(_ACTING))


def is_acting(checkpoint: bytes) -> bool:
    """Whether it is such a checkpoint."""
    return checkpoint == _ACTING


class _Opened(NamedTuple):
    head: bytes
    """The body up to the first event, which names the response."""
    rest: AsyncGenerator[bytes]


_PASSING = frozenset({408, 409, 425, 429, *range(500, 600)})
"""HTTP statuses after which the same request may succeed."""


async def _open(post: Callable[[], Awaitable[httpx2.Response]], answer: Answer) -> _Opened:
    """Begin a response, and read until it names itself: before, nobody could stop it."""
    body = _chunks(await post(), answer)
    head = b""
    async for chunk in body:
        head += chunk
        if first_event(head) is not None or len(head) > _MAX_HEAD_SIZE:
            break
    return _Opened(head, body)


async def _chained(head: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield head
        async for chunk in rest:
            yield chunk


async def _chunks(response: httpx2.Response, answer: Answer) -> AsyncGenerator[bytes]:
    async with open_body(response, answer.is_flowing) as chunks:
        async for chunk in chunks:
            yield chunk
