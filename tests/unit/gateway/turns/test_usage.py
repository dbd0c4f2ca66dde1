"""What an agent says of its use of tokens is taken for what it can mean."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.turns.usage import usage_of
from bobbin_protocol.store.turns import Usage
from tests.unit.gateway.openai_agent.samples import turn


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, None),
        ("many", None),
        ({"input_tokens": 1}, None),
        (Usage(input_tokens=3, output_tokens=5), Usage(input_tokens=3, output_tokens=5)),
        (Usage(input_tokens=-3, output_tokens=5), Usage(input_tokens=0, output_tokens=5)),
        (Usage(input_tokens=10**400, output_tokens=5), Usage(input_tokens=2**53, output_tokens=5)),
        (Usage(input_tokens="3", output_tokens=5), Usage(input_tokens=0, output_tokens=5)),  # type: ignore[arg-type]
    ],
)
def test_only_counts_are_counted(said: Any, meant: Usage | None) -> None:
    one = turn()
    one.usage = said
    assert usage_of(one) == meant
