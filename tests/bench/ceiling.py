"""The ceiling: granian and as little Python as can write a ChatKit stream. No model, no database, no parsing.

`python -m tests.bench.ceiling PORT`; `POST /chatkit?deltas=20&first_ms=0&delay_ms=0&per_write=0`, the options
as those of the model server's `script:`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Writes = list[tuple[float, bytes]]

_OPENING = (
    b'data: {"type":"thread.created","thread":{"id":"thr_0","created_at":"2026-01-01T00:00:00Z","status":'
    b'{"type":"active"},"items":{"data":[],"has_more":false}}}\n\n'
    b'data: {"type":"stream_options","stream_options":{"allow_cancel":true}}\n\n'
)
_DELTA = (
    b'data: {"type":"thread.item.updated","item_id":"msg_019b0000000070008000000000000000","update":{"type":'
    b'"assistant_message.content_part.text_delta","content_index":0,"delta":"knot"}}\n\n'
)
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request, write the stream."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    for wait_s, body in _writes(scope["query_string"]):
        if wait_s:
            await asyncio.sleep(wait_s)
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@cache
def _writes(query: str | bytes) -> Writes:
    text = query if isinstance(query, str) else query.decode()
    options = {name: float(value) for name, value in parse_qsl(text)}
    deltas, delay_s = int(options.get("deltas", 20)), options.get("delay_ms", 0) / 1000
    group = int(options.get("per_write", 0)) or (1 if delay_s else max(1, deltas))
    writes = [(delay_s, _DELTA * min(group, deltas - start)) for start in range(0, deltas, group)]
    if writes:
        writes[0] = (options.get("first_ms", 0) / 1000, writes[0][1])
    return [(0.0, _OPENING), *writes]


def main() -> None:
    """Serve until killed."""
    Server(
        "tests.bench.ceiling:app",
        interface=Interfaces.ASGI,
        address="127.0.0.1",
        port=int(sys.argv[1]),
        loop=Loops.uvloop,
        websockets=False,
        backpressure=65_536,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
