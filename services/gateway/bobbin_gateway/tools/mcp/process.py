"""A server that we start: JSON-RPC messages by lines over its standard input and output.

The `mcp` package has a client for that, too, but it keeps a line of any length in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from bobbin_gateway.tools.mcp.configuration import Program
from bobbin_gateway.tools.mcp.limits import MAX_MESSAGE_BYTES, ServerGone

log = structlog.get_logger()

GRACE_S = 2.0
"""How long a server may take to end after each way of asking it to."""

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


@asynccontextmanager
async def started(name: str, program: Program) -> AsyncGenerator[Streams]:
    """Start the server, and stop it when left. Its standard error is ours.

    Raises:
        OSError: It cannot be started.
        ServerGone: It has ended, or sends what cannot be kept (in an exception group).
    """
    process = await asyncio.create_subprocess_exec(
        program.command,
        *program.args,
        env=get_default_environment() | program.env,
        cwd=program.cwd,
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,  # a ^C at our terminal is ours; and it can be stopped with all its children
        limit=MAX_MESSAGE_BYTES,
    )
    try:
        incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception]()
        sent, outgoing = anyio.create_memory_object_stream[SessionMessage]()
        async with incoming, received, sent, outgoing, anyio.create_task_group() as tasks:
            tasks.start_soon(_read, name, process, incoming)
            tasks.start_soon(_write, process, outgoing)
            try:
                yield received, sent
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _read(name: str, process: Process, incoming: Incoming) -> None:
    assert process.stdout is not None  # noqa: S101 (a PIPE, as asked for)
    strange = False
    while True:
        try:
            line = await process.stdout.readuntil()
        except asyncio.IncompleteReadError:
            with anyio.move_on_after(GRACE_S):
                await process.wait()
            raise ServerGone(f"it has ended (status {process.returncode})") from None
        except asyncio.LimitOverrunError:
            raise ServerGone(f"it sent a message of more than {MAX_MESSAGE_BYTES} bytes") from None
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            if line.strip() and not strange:
                strange = True
                log.warning("an MCP server writes what is no message to its standard output", server=name)
            continue
        await incoming.send(SessionMessage(message))


async def _write(process: Process, outgoing: Outgoing) -> None:
    assert process.stdin is not None  # noqa: S101 (a PIPE, as asked for)
    async for outbound in outgoing:
        line = outbound.message.model_dump_json(by_alias=True, exclude_unset=True)
        process.stdin.write(f"{line}\n".encode())
        try:
            await process.stdin.drain()
        except OSError as error:
            raise ServerGone("it reads its standard input no more") from error


async def _stop(process: Process) -> None:
    """End it as the protocol asks: close its input, then SIGTERM, then SIGKILL for whatever child is left.

    https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#shutdown
    """
    assert process.stdin is not None  # noqa: S101 (a PIPE, as asked for)
    process.stdin.close()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_drain, process)
        if not await _ended(process):
            _signal_all(process, signal.SIGTERM)
            await _ended(process)
        _signal_all(process, signal.SIGKILL)
        await _ended(process)
        tasks.cancel_scope.deadline = anyio.current_time() + GRACE_S


async def _ended(process: Process) -> bool:
    with anyio.move_on_after(GRACE_S):
        await process.wait()
    return process.returncode is not None


def _signal_all(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


async def _drain(process: Process) -> None:
    """Throw away what it still writes: while it waits for a reader it does not end."""
    assert process.stdout is not None  # noqa: S101 (a PIPE, as asked for)
    while await process.stdout.read(65_536):
        pass
