"""The connection to one server: made, looked after, and made again when it is lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, NoReturn, TypeVar, cast

import anyio
import structlog
from mcp import MCPError, types
from mcp.client.streamable_http import streamable_http_client

from bobbin_gateway.tools.mcp.configuration import McpServer, Program
from bobbin_gateway.tools.mcp.http_client import Refusals, open_http_client
from bobbin_gateway.tools.mcp.limits import MAX_MESSAGE_BYTES, ServerGone
from bobbin_gateway.tools.mcp.listing import Listing, Offer, listing
from bobbin_gateway.tools.mcp.names import one_line
from bobbin_gateway.tools.mcp.process import started
from bobbin_gateway.tools.mcp.progress import OnProgress
from bobbin_gateway.tools.mcp.session import Session

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
LOOK_INTERVAL_S = 60.0
"""How often the list is read again though nothing was heard: a server behind HTTP dies in silence."""
SETTLE_S = 0.1
"""How long several changes of the list are taken for one."""
LAST_WORD_S = 1.0
"""How long a lost session may take to tell those who wait for an answer."""
WAIT_S = 10.0
"""For how long after the loss of a server calls wait for it: few restarts take longer."""


class Connection:
    """One server, whether it is there or not."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self._found = Listing([], [])
        self._session: Session | None = None
        self._away_since = -math.inf
        """By the event loop's clock."""
        self._refusals = Refusals()
        self._there = asyncio.Event()
        self._lost = asyncio.Event()
        """Set when the session of now is lost."""
        self._doubt = asyncio.Event()
        """Set when the list may have changed, or the server may be gone: reading the list tells."""

    @property
    def offers(self) -> list[Offer]:
        """Its tools, as last heard.

        They stay while it is away. So the model's prompt does not change (providers cache it by its
        beginning, tools included), and a user who asks for such a tool is told that it is away, not that
        there is none.
        """
        return self._found.offers

    async def run(self) -> NoReturn:
        """Keep the connection until cancelled; no failure of the server ends this."""
        pause = FIRST_PAUSE_S
        while True:
            began = _now()
            try:
                await self._keep()
                reason = "it has ended the session"
            except Exception as error:  # noqa: BLE001 (whatever it is, the server is away: told, and tried again)
                reason = _reason(error)
            await anyio.lowlevel.checkpoint_if_cancelled()  # it may have failed because of that
            if _now() - began > LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S
            log.warning("MCP server is away", server=self.server.name, reason=reason, retry_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def call(
        self, name: str, arguments: dict[str, Any], meta: dict[str, str] | None, on_progress: OnProgress
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Call a tool, by the server's name; cancelling this cancels the call at the server.

        It is never sent twice if the server may have seen it: it might do twice what should be done once.

        Raises:
            ServerGone: The server is away; it has not seen the call.
            MCPError: The server refuses the call, or the connection was lost meanwhile.
            ValueError: The answer is none.
        """
        session, lost, refusals = await self._standing()
        try:
            return await _unless_lost(session.call(name, arguments, meta, on_progress), lost)
        except MCPError as error:
            closed = error.code == types.CONNECTION_CLOSED
            if closed or refusals.expired:
                self._doubt.set()
            if closed or not refusals.expired:
                raise
        # It was restarted and does not know the session, so it has not looked at the call either.
        self._forget(session)
        session, lost, _ = await self._standing()
        return await _unless_lost(session.call(name, arguments, meta, on_progress), lost)

    async def _standing(self) -> tuple[Session, asyncio.Event, Refusals]:
        """The session as soon as there is one, what is set when it is lost, and what is refused in it."""
        try:
            async with asyncio.timeout_at(self._away_since + WAIT_S):
                while self._session is None:
                    await self._there.wait()
        except TimeoutError:
            raise ServerGone("it did not come back in time") from None
        return self._session, self._lost, self._refusals

    async def _keep(self) -> None:
        """Connect, and stay connected until something fails. All of it in this task: anyio demands it."""
        self._refusals = Refusals()
        self._doubt.clear()
        async with AsyncExitStack() as stack:
            try:
                session = await self._open(stack)
                await session.agree()
                await self._look(session)
            except MCPError as error:
                status = "" if self._refusals.status is None else f" (HTTP status {self._refusals.status})"
                raise ServerGone(f"{error.message}{status}") from error
            log.info("MCP server is there", server=self.server.name, tools=len(self.offers))
            self._session, self._lost = session, asyncio.Event()
            self._there.set()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(session.subscribe)
                    await self._keep_looking(session)
            finally:
                self._forget(session)

    async def _open(self, stack: AsyncExitStack) -> Session:
        transport = self.server.transport
        if isinstance(transport, Program):
            received, sent = await stack.enter_async_context(started(self.server.name, transport))
        else:
            client = await stack.enter_async_context(open_http_client(transport, self._refusals))
            received, sent = await stack.enter_async_context(
                streamable_http_client(
                    transport.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
                )
            )
        return await stack.enter_async_context(Session(received, sent, self._doubt))

    def _forget(self, session: Session) -> None:
        """Have calls wait for another session."""
        if self._session is session:
            self._session = None
            self._away_since = _now()
            self._there.clear()
            self._lost.set()

    async def _keep_looking(self, session: Session) -> NoReturn:
        while True:
            with anyio.move_on_after(LOOK_INTERVAL_S):
                await self._doubt.wait()
                await anyio.sleep(SETTLE_S)
            self._doubt.clear()
            try:
                if await self._look(session):
                    log.info("MCP server has other tools", server=self.server.name, tools=len(self.offers))
            except MCPError as error:
                if error.code != types.REQUEST_TIMEOUT:
                    raise
                # Perhaps it is busy with a call, and does one thing at a time: no reason to stop it.
                log.warning("MCP server does not answer", server=self.server.name)

    async def _look(self, session: Session) -> bool:
        """Read the list of tools; whether it has changed."""
        found = listing(self.server, await session.list_all())
        if found == self._found:
            return False
        self._found = found
        for sentence in found.left_out:
            log.warning("MCP tool is left out", server=self.server.name, tool=sentence)
        return True


async def _unless_lost(calling: Coroutine[Any, Any, T], lost: asyncio.Event) -> T:
    """The answer to a call. A session that ends may forget who waits for one.

    Raises:
        MCPError: It is lost.
    """
    call, losing = asyncio.create_task(calling), asyncio.create_task(lost.wait())
    call.add_done_callback(_heard)
    try:
        await asyncio.wait([call, losing], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([call], timeout=LAST_WORD_S if losing.done() else None)
        if not call.done():
            raise MCPError(types.CONNECTION_CLOSED, "Connection closed")
        return call.result()
    finally:
        losing.cancel()
        if not call.done():  # it tells the server that nobody waits any more
            call.cancel()
            await asyncio.wait([call], timeout=LAST_WORD_S)


def _heard(call: asyncio.Task[Any]) -> None:
    """Take note of how a call has failed, which nobody may want to know any more: asyncio would complain."""
    if not call.cancelled():
        call.exception()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: BaseException) -> str:
    """One line for the log about the first thing that went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    text = one_line(str(error), 300)
    return text if isinstance(error, ServerGone) else f"{type(error).__name__}: {text}"
