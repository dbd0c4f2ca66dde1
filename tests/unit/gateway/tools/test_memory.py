"""What tools did is remembered as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.memory import ToolExchange, recalled, remembered
from bobbin_gateway.tools.tool import ToolCall, ToolResult
from bobbin_protocol.items import thread_item_of
from bobbin_protocol.threads import ThreadMetadata


def test_an_exchange_comes_back_from_the_store_as_it_went_there() -> None:
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    turn = Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)
    exchange = ToolExchange(
        [ToolCall(call_id="c", name="f", arguments="not JSON")],
        [ToolResult(call_id="c", output="Error", failed=True)],
    )
    stored = msgspec.json.decode(msgspec.json.encode(remembered(turn, exchange)))
    item = thread_item_of(stored)
    assert item.__struct_config__.tag == "hidden_context_item"
    assert recalled(stored["content"]) == exchange


@pytest.mark.parametrize(
    "content", [None, "text", [], {"type": "x"}, {"type": "tool_exchange", "calls": [1]}]
)
def test_other_hidden_context_is_none_of_it(content: Any) -> None:
    assert recalled(content) is None
