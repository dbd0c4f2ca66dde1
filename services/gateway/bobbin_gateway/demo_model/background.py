"""Background responses: each is made whether anyone reads it or not, and can be read again from any event.

As in OpenAI's background mode (developers.openai.com/api/docs/guides/background), with its addresses:
`GET /v1/responses/{id}`, the same with `?stream=true&starting_after=N`, `POST /v1/responses/{id}/cancel` and
`DELETE /v1/responses/{id}`. OpenAI forgets a response after about ten minutes; here the last ones are kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import msgspec

from bobbin_gateway.demo_model.reply import Ending, Reply

_END_OF_BLOCK = b"\n\n"


class _Event(msgspec.Struct):
    response: dict[str, Any] | None = None


class BackgroundResponse:
    """One response and the task that makes it.

    Attributes:
        answer: What is said, and when.
        id: The response's.
        events: The SSE blocks so far. The place of an event is its sequence number.
        ended: Whether no more will come.
    """

    def __init__(self, answer: Reply) -> None:
        self.answer = answer
        self.id = _response_id(answer)
        self.events: list[bytes] = []
        self.ended = False
        self._cancelled = False
        self._grown = asyncio.Event()
        self._rest = b""
        self._task = asyncio.create_task(self._make())

    def state(self) -> dict[str, Any]:
        """The response object as it stands."""
        states = (_decode(block).response for block in reversed(self.events))
        state = next((state for state in states if state is not None), _QUEUED | {"id": self.id})
        return {**state, "status": "cancelled"} if self._cancelled else state

    def stop(self) -> None:
        """Make no more of it; without effect when it has ended."""
        if not self.ended:
            self._cancelled = True
            self._task.cancel()
            self._end()

    async def read(self, first: int) -> list[bytes]:
        """The events from the given number on, as soon as there are any; none once the response has ended."""
        while len(self.events) <= first and not self.ended:
            await self._grown.wait()
        return self.events[first:]

    async def _make(self) -> None:
        for wait, body in self.answer.writes:
            if wait:
                await asyncio.sleep(wait)
            self._write(body)
        if self.answer.ending is Ending.COMPLETE:
            self._end()

    def _write(self, body: bytes) -> None:
        *blocks, self._rest = (self._rest + body).split(_END_OF_BLOCK)
        self.events += [block + _END_OF_BLOCK for block in blocks]
        self._wake()

    def _end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


class BackgroundResponses:
    """The last ones; those before them are stopped and forgotten."""

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, BackgroundResponse] = OrderedDict()

    def start(self, answer: Reply) -> BackgroundResponse:
        response = BackgroundResponse(answer)
        self.forget(response.id)  # recordings have the same id each time
        self._kept[response.id] = response
        if len(self._kept) > self._limit:
            self.forget(next(iter(self._kept)))
        return response

    def find(self, response_id: str) -> BackgroundResponse | None:
        return self._kept.get(response_id)

    def forget(self, response_id: str) -> None:
        if (response := self._kept.pop(response_id, None)) is not None:
            response.stop()

    @property
    def running(self) -> int:
        """How many are being made."""
        return sum(not response.ended for response in self._kept.values())


_QUEUED: dict[str, Any] = {"object": "response", "status": "queued", "background": True, "output": []}


def _response_id(answer: Reply) -> str:
    """As the first event will tell it."""
    first, _, _ = b"".join(body for _, body in answer.writes).partition(_END_OF_BLOCK)
    return str((_decode(first).response or {}).get("id", ""))


def _decode(block: bytes) -> _Event:
    data = next((line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")), b"{}")
    try:
        return msgspec.json.decode(data, type=_Event)
    except msgspec.DecodeError:
        return _Event()  # a scripted piece of garbage
