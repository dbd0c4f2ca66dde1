from typing import Any

import pytest

from bobbin_protocol.actions import ActionConfig, without_nulls
from bobbin_protocol.wire import encode_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, 0),
        ({"a": None, "b": 0, "c": "", "d": False}, {"b": 0, "c": "", "d": False}),
        ({"a": [None, {"b": None}, [None]]}, {"a": [{}, []]}),
    ],
)
def test_nulls_go_and_other_empty_values_stay(value: Any, expected: Any) -> None:
    assert without_nulls(value) == expected


def test_an_action_sends_its_defaults_and_no_nulls_in_its_payload() -> None:
    assert encode_json(ActionConfig(type="go", payload={"a": None, "b": [1, None]})) == (
        b'{"type":"go","payload":{"b":[1]},"handler":"server","loadingBehavior":"auto","streaming":true}'
    )
