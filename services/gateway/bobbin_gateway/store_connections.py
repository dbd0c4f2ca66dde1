"""Connections to the store: HTTP/1.1 (RFC 9112), kept open, one call at a time on each.

A turn makes two short calls, and a client for all of HTTP (redirects, cookies, encodings, streams) spends as
much CPU on each as the store does. Here a request is bytes at hand, and an answer is read whole; httptools
parses it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools
from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType] (`tuple` of anything)


class Answer(NamedTuple):
    """What came back."""

    status: int
    media_type: str
    content: bytes


class Address(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    path: str
    """What its paths begin with; without a slash at the end."""

    @classmethod
    def of(cls, url: str) -> Address:
        """The parts of a URL.

        Raises:
            ValueError: It is none of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url} is no URL of HTTP")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (80 if tls is None else 443)
        return cls(parts.hostname, port, tls, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What the header `Host` says of it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (80 if self.tls is None else 443) else f"{host}:{self.port}"


class Connections:
    """At most so many connections to a server; the one used last is used first, and those not used go."""

    def __init__(self, address: Address, most: int) -> None:
        self._address = address
        self._room = asyncio.Semaphore(most)
        self._idle: list[_Connection] = []
        self._closed = False

    async def exchange(self, request: bytes, *, anew: bool = False) -> Answer:
        """Send a request, and read the answer. Cancelled, it hangs up.

        Args:
            request: All of it.
            anew: Send it over a connection that nothing has been sent over before.

        Raises:
            OSError: There is no way to the server, it hung up, or what it said is not HTTP.
        """
        async with self._room:
            connection = None if anew else self._take_idle()
            if connection is None:
                connection = await self._connect()
            try:
                answer = await connection.exchange(request)
            except BaseException:
                connection.abort()
                raise
            self._keep(connection)
        return answer

    def close(self) -> None:
        """Hang up; connections in use do when their calls end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now - connection.used_at < _IDLE_S:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        if self._closed or not connection.is_open:
            connection.close()
            return
        self._idle.append(connection)
        oldest = self._idle[0]
        if connection.used_at - oldest.used_at > _IDLE_S or not oldest.is_open:
            del self._idle[0]
            oldest.close()

    async def _connect(self) -> _Connection:
        """Connect to whichever of the server's addresses answers.

        Raises:
            OSError: None does, or not in time.
        """
        host, port, tls, _ = self._address
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            random.shuffle(found)  # they share the work
            tried = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=loop)
            try:
                _, connection = await loop.create_connection(
                    _Connection, sock=tried, ssl=tls, server_hostname=host if tls else None
                )
            except BaseException:
                tried.close()
                raise
        return connection


class _Connection(asyncio.Protocol):
    """One connection; httptools calls its `on_` methods."""

    def __init__(self) -> None:
        self.is_open = False
        self.used_at = 0.0
        """When its last answer was whole, on the loop's clock."""
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._media_type = ""
        self._content: list[bytes] = []

    async def exchange(self, request: bytes) -> Answer:
        """Send a request, and read the answer.

        Raises:
            ConnectionError: The server hung up, or what it said is not HTTP.
        """
        if self._transport is None or not self.is_open:
            raise ConnectionResetError("the server hung up")
        self._answer = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    def abort(self) -> None:
        """Hang up, whatever is still under way."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Hang up, after what is still to be sent."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail(f"the server hung up{f': {exc}' if exc else ''}")

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody has asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what the server said is not HTTP/1.1: {error}")
            self.close()

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # whoever asks next must not get what stands here too much

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._media_type = value.partition(b";")[0].strip().lower().decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._content.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL and self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, self._media_type, b"".join(self._content)))
            self.used_at = self._loop.time()
            if not self._parser.should_keep_alive():
                self.close()
        self._media_type = ""
        self._content.clear()

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(reason))


_FINAL = 200
"""The first status of an answer that no other follows."""
_IDLE_S = 30.0
"""Longest time that a connection waits for its next call: something on the way may forget it."""
_CONNECT_S = 3.0
"""Longest wait for a connection: a machine that is gone says nothing at all."""
_NEXT_ADDRESS_S = 0.25
"""How long an address that does not answer is tried alone (RFC 8305, section 8)."""
