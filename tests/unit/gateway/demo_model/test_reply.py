"""When the bytes of an answer leave."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.demo_model import reply
from bobbin_gateway.demo_model.answer import Frames
from bobbin_gateway.demo_model.reply import Ending
from bobbin_gateway.demo_model.script import parse_script

FRAMES = Frames(b"<", [b"1", b"2", b"3", b"4", b"5"], b">")


@pytest.mark.parametrize(
    ("query", "writes"),
    [
        ("", [(0, b"<12345>")]),
        ("first_ms=100", [(0, b"<"), (0.1, b"12345>")]),
        ("delay_ms=10", [(0, b"<1"), (0.01, b"2"), (0.01, b"3"), (0.01, b"4"), (0.01, b"5>")]),
        ("per_write=2", [(0, b"<12"), (0, b"34"), (0, b"5>")]),
        ("per_write=3&delay_ms=10&first_ms=20", [(0, b"<"), (0.02, b"123"), (0.01, b"45>")]),
        ("stall_after=2", [(0, b"<12")]),
        ("cut_after=0", [(0, b"<")]),
        ("garbage=2&per_write=1", [(0, b"<1"), (0, reply.GARBAGE), (0, b"3"), (0, b"4"), (0, b"5>")]),
    ],
)
def test_a_script_sets_the_pace(query: str, writes: list[tuple[float, bytes]]) -> None:
    """As few writes as the delays allow; faults leave out the rest."""
    assert reply.scripted(FRAMES, parse_script(query)).writes == writes


def test_faults_decide_the_end() -> None:
    """A stall keeps the connection, a cut drops it."""
    endings = [
        reply.scripted(FRAMES, parse_script(query)).ending for query in ("", "stall_after=1", "cut_after=1")
    ]
    assert endings == [Ending.COMPLETE, Ending.STALL, Ending.CUT]


def test_only_one_write_at_once_needs_no_waiting() -> None:
    """The cheap way is taken exactly when nothing can interrupt it."""
    immediate = {
        query: reply.scripted(FRAMES, parse_script(query)).is_immediate
        for query in (
            "",
            "first_ms=1",
            "head_ms=1",
            "delay_ms=1",
            "per_write=1",
            "stall_after=9",
            "cut_after=9",
        )
    }
    assert [query for query, is_so in immediate.items() if is_so] == [""]


@given(st.binary(max_size=100), st.integers(0, 120))
def test_chunks_add_up_to_the_body(body: bytes, chunk: int) -> None:
    """Whatever the chunk size, no byte is lost, and no chunk is larger."""
    writes = reply.chunked(body, chunk, 0.5)
    assert b"".join(data for _, data in writes) == body
    assert all(len(data) <= (chunk or len(body)) for _, data in writes)
    assert [wait for wait, _ in writes] == [0] + [0.5] * (len(writes) - 1)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, "invalid_request_error", "invalid_api_key"),
        (404, "invalid_request_error", "model_not_found"),
        (429, "invalid_request_error", "rate_limit_exceeded"),
        (503, "server_error", None),
    ],
)
def test_an_error_status_has_the_body_of_the_real_api(status: int, kind: str, code: str | None) -> None:
    """`{"error": {message, type, param, code}}`."""
    answer = reply.error(status, "No.", retry_after=1.5)
    body = json.loads(answer.writes[0][1])
    assert body == {"error": {"message": "No.", "type": kind, "param": None, "code": code}}
    assert (answer.status, answer.retry_after) == (status, 1.5)
