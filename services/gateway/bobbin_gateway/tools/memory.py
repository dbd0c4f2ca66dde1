"""Remembering what tools did: the calls of a round and their results, as a hidden item of the thread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.tool import ToolCall, ToolResult
from bobbin_protocol.items import HiddenContextItem


class ToolExchange(Struct, frozen=True):
    """Calls that a model made at once, with the result of each."""

    calls: list[ToolCall]
    results: list[ToolResult]
    type: Literal["tool_exchange"] = "tool_exchange"


def remembered(turn: Turn, exchange: ToolExchange) -> HiddenContextItem:
    """The item by which later turns know of it."""
    return HiddenContextItem(
        id=turn.new_id("message"),
        thread_id=turn.thread.id,
        created_at=datetime.now(UTC),
        content=msgspec.to_builtins(exchange),
    )


def recalled(content: Any) -> ToolExchange | None:
    """The exchange that a hidden item holds; None if it holds something else."""
    if not isinstance(content, dict) or cast("dict[str, Any]", content).get("type") != "tool_exchange":
        return None
    try:
        return msgspec.convert(content, ToolExchange)
    except msgspec.ValidationError:
        return None  # of another version
