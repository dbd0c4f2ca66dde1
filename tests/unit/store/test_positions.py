"""Positions: they survive the way to a client and back, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_store.errors import InvalidRequest
from bobbin_store.positions import Position, Snapshot


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    end = draw(st.integers(1, 10**15))
    open_ = draw(st.sets(st.integers(1, end - 1), max_size=8)) if end > 1 else set[int]()
    return Snapshot(end, tuple(sorted(open_)))


times = st.integers(0, 10**11)
positions = st.tuples(times, snapshots()).map(lambda parts: Position(*parts)) | st.tuples(
    times, snapshots(), snapshots(), st.integers(0, 10**15)
).map(lambda parts: Position(*parts))


@given(positions)
def test_a_position_survives_the_way_to_the_client_and_back(position: Position) -> None:
    assert Position.parse(str(position), field="after") == position


@given(positions)
def test_a_position_can_stand_in_a_header_and_beside_others(position: Position) -> None:
    assert set(str(position)) <= set("0123456789._")


@given(snapshots())
def test_a_snapshot_is_read_as_postgresql_writes_it(snapshot: Snapshot) -> None:
    assert Snapshot.of(snapshot.sql) == snapshot


def test_a_quiet_database_makes_short_positions() -> None:
    assert str(Position(1_800_000_000, Snapshot.of("1234:1234:"))) == "1800000000.1234"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.",
        ".1",
        "1.0",
        "1.x",
        "1.5_0",  # open at its own end
        "1.5_5",  # transaction 0
        "1.5_6",
        "1.9_2_3",  # not ascending
        "1.9_2_2",
        "1.5.5",
        "1.5.5.",
        "1.5.5.5.5",
        "-1.5",
        "1.5 ",
        "1.5\n",
        "1.٣",
        "1.9223372036854775808",
        "1234567890123.5",
        "1." + "9" * 10_001,
    ],
)
def test_what_is_no_position_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Position.parse(text, field="$.changes[0].after")
    assert caught.value.field == "$.changes[0].after"
