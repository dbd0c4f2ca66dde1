"""The SSE codec: the standard's cases, hostile input, and any chunking."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_protocol.sse import PING, EventTooLarge, SSEEvent, SSEParser, encode_event


def parse(*chunks: bytes) -> list[tuple[str, bytes, str]]:
    parser = SSEParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [(event.event, event.data, event.id) for event in events]


def data_of(*chunks: bytes) -> list[bytes]:
    return [data for _, data, _ in parse(*chunks)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [b"a"], id="one event"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two events"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="CRLF"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="CR"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", [b"a", b"b", b"c"], id="mixed line ends"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="BOM at the start"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"], id="BOM elsewhere is no BOM"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="only one BOM is taken off"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="two data lines"),
        pytest.param(b"data: a\ndata\ndata:\n\n", [b"a\n\n"], id="empty data lines"),
        pytest.param(b"data\n\n", [b""], id="data without a colon"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space"),
        pytest.param(b"data:  a \n\n", [b" a "], id="only one space is taken off"),
        pytest.param(b"data:\ta\n\n", [b"\ta"], id="a tab is no space"),
        pytest.param(b": hello\n\n", [], id="comment"),
        pytest.param(b": ping\ndata: a\n\n", [b"a"], id="comment before data"),
        pytest.param(b"data: a\n:x\ndata: b\n\n", [b"a\nb"], id="comment within an event"),
        pytest.param(b"event: x\n\n", [], id="no data, no event"),
        pytest.param(b"\n\n\n\ndata: a\n\n\n\n\n", [b"a"], id="blank lines"),
        pytest.param(b" data: a\n\n", [], id="a field with a space before it is another field"),
        pytest.param(b"Data: a\n\n", [], id="names are case-sensitive"),
        pytest.param(b"foo: a\ndata: b\n\n", [b"b"], id="unknown field"),
        pytest.param(b"data: a", [], id="cut in a line"),
        pytest.param(b"data: a\n", [], id="cut before the blank line"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(
            "data: a\u2028b\u2029c\x85d\x0be\x0cf\n\n".encode(),
            ["a\u2028b\u2029c\x85d\x0be\x0cf".encode()],
            id="other line ends of Unicode are text",
        ),
        pytest.param(b"data: a\0b\n\n", [b"a\0b"], id="NUL in data"),
        pytest.param(b"data: \xff\xfe\n\n", [b"\xff\xfe"], id="data that is no UTF-8"),
        pytest.param(b"data: data: a\n\n", [b"data: a"], id="a field within the value"),
        pytest.param(b"data: [DONE]\n\n", [b"[DONE]"], id="the mark of OpenAI"),
    ],
)
def test_streams_are_read_as_the_standard_says(stream: bytes, expected: list[bytes]) -> None:
    assert data_of(stream) == expected
    assert data_of(*(stream[i : i + 1] for i in range(len(stream)))) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"event: x\ndata: a\n\n", [("x", b"a", "")]),
        (b"data: a\nevent: x\n\n", [("x", b"a", "")]),
        (b"event: x\nevent: y\ndata: a\n\n", [("y", b"a", "")]),
        (b"event:\ndata: a\n\n", [("message", b"a", "")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", b"a", ""), ("message", b"b", "")]),
        (b"event: x\n\ndata: a\n\n", [("message", b"a", "")]),
        (b"event: \xff\ndata: a\n\n", [("\ufffd", b"a", "")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [("message", b"a", "1"), ("message", b"b", "1")]),
        (b"id: 1\n\ndata: a\n\n", [("message", b"a", "1")]),
        (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [("message", b"a", "1"), ("message", b"b", "")]),
        (b"id: 1\nid: 2\0\ndata: a\n\n", [("message", b"a", "1")]),
        (b"id: \xff\ndata: a\n\n", [("message", b"a", "\ufffd")]),
    ],
)
def test_names_and_ids_are_read_as_the_standard_says(
    stream: bytes, expected: list[tuple[str, bytes, str]]
) -> None:
    assert parse(stream) == expected
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == expected


@pytest.mark.parametrize(
    ("line", "retry_ms"),
    [(b"3000", 3000), (b"", None), (b"-1", None), (b"1.5", None), (b"3e3", None), (b"9" * 5000, None)],
)
def test_only_a_plain_number_sets_the_retry_time(line: bytes, retry_ms: int | None) -> None:
    parser = SSEParser()
    assert parser.feed(b"retry: " + line + b"\n\n") == []
    assert parser.retry_ms == retry_ms


def test_an_event_comes_out_with_its_last_byte_even_when_that_is_a_cr() -> None:
    """A sender of CR line ends is answered at once, and the LF of a CRLF cut in two starts no new line."""
    parser = SSEParser()
    assert parser.feed(b"data: a\r\n\r") == [SSEEvent(b"a")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\r") == []
    assert parser.feed(b"\n\r\n") == [SSEEvent(b"b")]


def test_empty_chunks_change_nothing() -> None:
    assert data_of(b"", b"data: a\r", b"", b"\n", b"", b"\r\n", b"") == [b"a"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_finish_gives_the_event_that_lacks_its_blank_line(end: bytes) -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a" + end) == []
    assert parser.finish() == [SSEEvent(b"a")]
    assert SSEParser().finish() == []


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_an_event_up_to_the_limit_passes_and_a_larger_one_is_named(pieces: int) -> None:
    def feed(stream: bytes) -> list[SSEEvent]:
        parser = SSEParser(max_event_size=100)
        step = -(-len(stream) // pieces)
        chunks = [stream[i : i + step] for i in range(0, len(stream), step)]
        return [event for chunk in chunks for event in parser.feed(chunk)]

    assert feed(b"\xef\xbb\xbfdata: " + b"x" * 94 + b"\n\n") == [SSEEvent(b"x" * 94)]
    with pytest.raises(EventTooLarge) as caught:
        feed(b"data: a\n\ndata: " + b"x" * 95 + b"\n\n")
    assert caught.value.limit == 100


@pytest.mark.parametrize("endless", [b"x", b"data: x\n", b": ping\n"])
def test_a_block_that_never_ends_is_refused_with_bounded_memory(endless: bytes) -> None:
    parser = SSEParser(max_event_size=1000)

    def feed_for_ever() -> None:
        while True:
            parser.feed(endless)

    with pytest.raises(EventTooLarge):
        feed_for_ever()
    assert sum(map(len, parser._pieces)) < 1020


_FIELDS = ["data", "event", "id", "retry", ":", "a", "1", "\0", "\ufeff", "\U0001f600"]
_ENDS = ["\n", "\r", "\r\n", "\n\n", "data:x\n\n", ":c\n"]
_PIECES = st.sampled_from([*_FIELDS, *_ENDS])
_STREAMS = st.lists(_PIECES.map(str.encode) | st.sampled_from([b" ", b"\xff"]), max_size=40).map(b"".join)


@given(stream=_STREAMS, cuts=st.lists(st.integers(0, 200), max_size=10))
def test_the_events_do_not_depend_on_the_chunking(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert parse(*chunks) == parse(stream) == _by_the_book(stream)


def _by_the_book(stream: bytes) -> list[tuple[str, bytes, str]]:
    """Follow the steps of WHATWG HTML 9.2.6 one by one."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events: list[tuple[str, bytes, str]] = []
    data, name, last_id = b"", "", ""
    for line in lines[:-1]:
        if not line:
            if data:
                events.append((name or "message", data[:-1], last_id))
            data, name = b"", ""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value.decode(errors="replace")
        elif field == b"id" and b"\0" not in value:
            last_id = value.decode(errors="replace")
    return events


@given(
    data=st.binary(),
    event_id=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")),
)
def test_what_is_encoded_is_one_event_with_that_data(data: bytes, event_id: str | None) -> None:
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert parse(encode_event(data, event_id=event_id)) == [("message", text, event_id or "")]


@pytest.mark.parametrize("data", [b"a\n\ndata: forged", b"a\r\rid: 1", b"a\r\n\r\nevent: x", b"\n", b"\r"])
def test_data_forges_no_field_and_no_event(data: bytes) -> None:
    ((name, _, last_id),) = parse(encode_event(data))
    assert (name, last_id) == ("message", "")


@pytest.mark.parametrize("event_id", ["1\ndata: forged", "1\r", "\n", "a\0"])
def test_an_id_that_would_break_its_line_is_refused(event_id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        encode_event(b"{}", event_id=event_id)


def test_recorded_streams_give_the_same_events_however_they_are_cut(recordings: Path) -> None:
    files = sorted(recordings.glob("*.sse"))
    assert files
    for file in files:
        stream = file.read_bytes()
        whole = parse(stream)
        assert len(whole) == sum(line.startswith(b"data:") for line in stream.splitlines()), file.name
        assert parse(*(stream[i : i + 37] for i in range(0, len(stream), 37))) == whole, file.name


def test_a_keep_alive_is_no_event_and_harms_none() -> None:
    """It ends with a single newline: chatkit.js takes a comment with a blank line for an empty message."""
    assert data_of(PING, encode_event(b"{}"), PING, PING, encode_event(b"[]")) == [b"{}", b"[]"]
    assert PING.count(b"\n") == 1
