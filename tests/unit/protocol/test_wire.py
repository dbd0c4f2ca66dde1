from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from bobbin_protocol.wire import Wire, always, encode_json, utc


class Sample(Wire, tag="sample"):
    maybe: str | None = None
    needed: int
    flag: bool = always(default=False)
    names: list[str] = always(list)
    kind: str = always("plain")


def test_an_absent_value_is_left_out_and_a_sent_default_is_not() -> None:
    assert encode_json(Sample(needed=1)) == (
        b'{"type":"sample","needed":1,"flag":false,"names":[],"kind":"plain"}'
    )


def test_null_is_accepted_where_a_value_may_be_absent() -> None:
    assert msgspec.json.decode(b'{"needed":1,"maybe":null}', type=Sample) == Sample(needed=1)


def test_sent_defaults_are_not_shared_between_values() -> None:
    first = Sample(needed=1)
    first.names.append("x")
    assert Sample(needed=1).names == []


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 12, tzinfo=UTC)),
        (datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 12, tzinfo=UTC)),  # noqa: DTZ001 (the case in point)
        (
            datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 1, 1, 10, tzinfo=UTC),
        ),
    ],
)
def test_times_are_utc_whatever_they_came_as(moment: datetime, expected: datetime) -> None:
    assert utc(moment) == expected
    assert utc(moment).tzinfo is UTC


def test_a_time_before_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))))
