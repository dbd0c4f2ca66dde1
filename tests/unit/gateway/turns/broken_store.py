"""An HTTP server in the place of the store, that does what no store should; the client is the real one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from bobbin_gateway.settings import Settings
from bobbin_gateway.store import Store, open_store
from bobbin_protocol.problem import Problem
from bobbin_protocol.wire import encode_json

SETTINGS = Settings(store_token="x" * 16, store_timeout_s=5.0)

Behaviour = Callable[[Any], Awaitable[Any]]
"""Takes the body of a call, gives what to answer; raises `Away` to answer 503, or `Refused`."""


class Away(Exception):
    """The store cannot serve this call."""


class Refused(Exception):
    """The store says no."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@asynccontextmanager
async def broken_store(**behaviours: Behaviour) -> AsyncGenerator[Store]:
    """A client of a store that answers calls by the last word of their paths; leases by `lease`."""

    async def serve(request: web.Request) -> web.Response:
        name = "lease" if request.method == "PUT" else request.path.rpartition("/")[2]
        try:
            answer = await behaviours[name](msgspec.msgpack.decode(await request.read()))
        except Away:
            return web.Response(status=503)
        except Refused as refused:
            return web.Response(status=refused.problem.status, body=encode_json(refused.problem))
        return web.Response(body=msgspec.msgpack.encode(answer), content_type="application/msgpack")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [(host, port)] = [address[:2] for address in runner.addresses]
    try:
        async with open_store(
            f"http://{host}:{port}", SETTINGS.store_token, SETTINGS.store_timeout_s
        ) as store:
            yield store
    finally:
        await runner.cleanup()
