"""Server-Sent Events: one event to bytes, and bytes in any pieces to events (WHATWG HTML, 9.2.5 and 9.2.6).

Data stays bytes in both directions: it is JSON, encoded or decoded by msgspec right before or after.

The encoder writes what chatkit.js reads without mishap: ``id:`` beside its ``data:``, no ``event:`` lines,
and a keep-alive that ends with a single newline, because its parser takes a comment with a blank line for an
empty message (Azure/fetch-event-source, issue 15).
"""

from typing import Final

import msgspec

PING: Final = b": ping\n"
"""A keep-alive: a comment that no parser takes for an event. To be sent between events only."""

_BOM: Final = b"\xef\xbb\xbf"


def encode_event(data: bytes, *, event_id: str | None = None) -> bytes:
    """Frame one event.

    Line ends within the data, which JSON has none of, make several ``data:`` lines, so that no data can forge
    a field or an event; the parser gives each back as LF.

    Raises:
        ValueError: the id holds CR, LF or NUL, and would end its line or be ignored.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if event_id is None:
        return b"data: %b\n\n" % data
    if not _one_line(event_id):
        raise ValueError("An event's id can't hold CR, LF or NUL")
    return b"id: %b\ndata: %b\n\n" % (event_id.encode(), data)


def _one_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text and "\0" not in text


class SSEEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as received."""

    data: bytes
    """The values of its ``data`` lines, joined by LF."""
    event: str = "message"
    id: str = ""
    """The last id seen up to here, in this event or an earlier one."""


class EventTooLarge(Exception):
    """The sender's event is longer than the parser allows, or never ends. The stream can't be read on.

    Attributes:
        limit: the largest size allowed, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"An event of the stream is larger than {limit} bytes")
        self.limit = limit


class SSEParser:
    """Finds the events in a stream of bytes, however it is cut.

    Lines end with LF, CR or CRLF and with nothing else. An event that the stream breaks off is dropped, as
    the standard asks, unless ``finish`` is called.

    Attributes:
        last_id: the last ``id`` seen; empty at first.
        retry_ms: the last ``retry`` seen, in milliseconds; None at first.
    """

    def __init__(self, *, max_event_size: int = 16 * 1024 * 1024) -> None:
        """Start before the first byte.

        Args:
            max_event_size: most bytes from one blank line to the next.
        """
        self.last_id = ""
        self.retry_ms: int | None = None
        self._max_event_size = max_event_size
        self._pieces: list[bytes] = []  # of the block that is still open, joined once it closes
        self._size = 0
        self._at_line_start = False  # whether the last byte taken in was a line end
        self._after_cr = False  # whether that was a CR, so that a LF to come belongs to it
        self._at_stream_start = True

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """Take in the next bytes, and give the events that they complete.

        Raises:
            EventTooLarge: an event is longer than allowed; the parser is of no use any more.
        """
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf_only(chunk)
        if not chunk:
            return []
        closes = b"\n\n" in chunk or (self._at_line_start and chunk.startswith(b"\n"))
        self._at_line_start = chunk.endswith(b"\n")
        self._pieces.append(chunk)
        self._size += len(chunk)
        if not closes:
            if self._size > self._max_event_size + len(_BOM) + len(b"\n"):
                raise EventTooLarge(self._max_event_size)
            return []
        return self._close_blocks()

    def finish(self) -> list[SSEEvent]:
        """End the stream, and give the event that lacks its blank line, if there is one."""
        return self.feed(b"\n\n")

    def _with_lf_only(self, chunk: bytes) -> bytes:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _close_blocks(self) -> list[SSEEvent]:
        text = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        blocks = text.split(b"\n\n")
        rest = blocks.pop()
        if self._at_stream_start:
            self._at_stream_start = False
            blocks[0] = blocks[0].removeprefix(_BOM)
        if len(text) > self._max_event_size and max(map(len, blocks)) > self._max_event_size:
            raise EventTooLarge(self._max_event_size)
        self._pieces = [rest] if rest else []
        self._size = len(rest)
        events: list[SSEEvent] = []
        for block in blocks:
            # Nearly every event of a model's stream is one data line.
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(SSEEvent(block[6:], "message", self.last_id))
            elif (event := self._read_block(block)) is not None:
                events.append(event)
        return events

    def _read_block(self, block: bytes) -> SSEEvent | None:
        data: list[bytes] = []
        name = "message"
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode(errors="replace") or "message"
            elif field == b"id" and b"\0" not in value:
                self.last_id = value.decode(errors="replace")
            elif field == b"retry" and value.isdigit() and len(value) < len("1000000000"):
                self.retry_ms = int(value)
        return SSEEvent(b"\n".join(data), name, self.last_id) if data else None
