"""Where a reader of a feed is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.turns.feed import Cursor
from bobbin_protocol.requests import InvalidRequest

turn_ids = st.from_regex(r"\A[A-Za-z0-9_.:\-]{1,128}\Z")
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


@pytest.mark.parametrize("turns", [101, 20_000])
def test_a_reader_of_too_many_turns_begins_anew_and_asks_for_none_of_them(turns: int) -> None:
    text = "1.2" + "".join(f"~trn_{number:x}:1" for number in range(turns))
    assert (Cursor.parse(text).lost, Cursor.parse(text).turns) == (True, {})
    own = str(Cursor("1.2", {f"trn_{number:x}": 1 for number in range(turns)}))
    assert len(own) < 100
    assert Cursor.parse(own).lost
