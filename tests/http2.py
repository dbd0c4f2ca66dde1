"""HTTP/2 by hand, for what other clients hide: streams that are reset or not read, on one connection."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

from tests.client import Event, check_event


class Http2:
    """A connection with many streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scheme: str = "http"
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.socket: socket.socket = writer.get_extra_info("socket")
        self.turn_id = ""
        self.stream_id = 0
        self.headers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.unread: set[int] = set()
        """Streams whose reader does not read: what came is not acknowledged, so that no more may come."""
        self._scheme = scheme
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.connection.initiate_connection()

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, ca: Path | None = None) -> AsyncGenerator[Self]:
        """A connection of its own: with prior knowledge, or over TLS as browsers do it."""
        parts = urlsplit(url)
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
        try:
            yield cls(reader, writer, parts.scheme)
        finally:
            writer.transport.abort()

    async def ask(self, body: dict[str, Any], **headers: str) -> None:
        """Send it, and read up to the first event."""
        await self.begin(body, **headers)
        while b"data: " not in self.data.get(self.stream_id, b""):
            await self.read()

    async def begin(self, body: dict[str, Any], **headers: str) -> None:
        """Send it, and read up to the answer's headers."""
        content = json.dumps(body).encode()
        self.stream_id = self.connection.get_next_available_stream_id()
        pseudo = {":method": "POST", ":path": "/chatkit", ":scheme": self._scheme, ":authority": "localhost"}
        kind = {"content-type": "application/json"}
        self.connection.send_headers(self.stream_id, [*(pseudo | kind | headers).items()])
        self.connection.send_data(self.stream_id, content, end_stream=True)
        self._flush()
        while self.stream_id not in self.headers:
            await self.read()
        assert self.headers[self.stream_id][":status"] == "200"
        self.turn_id = self.headers[self.stream_id]["chatkit-turn-id"]

    async def read(self) -> None:
        """Take in what comes next."""
        received = await self.reader.read(65536)
        assert received, "the connection is closed"
        for event in self.connection.receive_data(received):
            match event:
                case h2.events.ResponseReceived():
                    self.headers[event.stream_id] = dict(event.headers)
                case h2.events.DataReceived():
                    self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                    self._acknowledge(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self.ended.add(event.stream_id)
                case _:
                    pass
        self._flush()

    def _acknowledge(self, size: int, stream_id: int) -> None:
        if not size:  # an empty frame that ends the stream
            return
        if stream_id in self.unread:
            self.connection.increment_flow_control_window(size)  # the connection's own
        else:
            self.connection.acknowledge_received_data(size, stream_id)

    async def read_to_end(self, *stream_ids: int, within_s: float = 20) -> None:
        """Read until these streams have ended."""
        async with asyncio.timeout(within_s):
            while not self.ended.issuperset(stream_ids):
                await self.read()

    def read_on(self, stream_id: int) -> None:
        """Go on with a stream that was not read."""
        self.unread.discard(stream_id)
        self.connection.increment_flow_control_window(len(self.data[stream_id]), stream_id)
        self._flush()

    def events(self, stream_id: int) -> list[Event]:
        """The events of a stream so far."""
        *whole, _ = self.data.get(stream_id, b"").split(b"\n\n")
        lines = [line for block in whole for line in block.split(b"\n") if line.startswith(b"data: ")]
        events = [json.loads(line.removeprefix(b"data: ")) for line in lines]
        for event in events:
            check_event(event)
        return events

    def reset(self) -> None:
        """Give up the last stream (RST_STREAM), and nothing else."""
        self.connection.reset_stream(self.stream_id, error_code=8)  # CANCEL
        self._flush()

    def _flush(self) -> None:
        self.writer.write(self.connection.data_to_send())

    async def leave(self) -> None:
        """Close the connection."""
        self.writer.close()
