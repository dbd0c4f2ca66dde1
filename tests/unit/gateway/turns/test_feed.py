"""Where a reader of a feed is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.feed import Cursor
from bobbin_protocol.requests import InvalidRequest

turn_ids = st.from_regex(r"\Atrn_[0-9a-f]{1,32}\Z")
positions = st.none() | st.from_regex(r"\A[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}\Z")


@given(positions, st.dictionaries(turn_ids, st.integers(0, 10**9), max_size=5))
def test_a_cursor_survives_the_way_to_the_client_and_back(
    position: str | None, turns: dict[str, int]
) -> None:
    cursor = Cursor.parse(str(Cursor(position, turns)))
    assert (cursor.position, cursor.turns) == (position, turns)


@pytest.mark.parametrize(
    "text", ["1.2~x", "1.2~trn_1:", "1.2~trn_1:x", "1~trn_1:-1", "1~trn_1:1_0", "~~", "\u0661"]
)
def test_what_is_no_cursor_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no position") as caught:
        Cursor.parse(text)
    assert caught.value.field == "Last-Event-ID"
