"""Widgets of a result are shown; what is none harms nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from mcp import types

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.mcp.widgets import show_widgets
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.threads import ThreadMetadata

CARD = {"type": "Card", "children": [{"type": "Text", "value": "Hi"}]}


async def shown(meta: dict[str, Any] | None) -> list[tuple[str, str | None]]:
    """Type and words of each widget that is shown."""
    found: list[tuple[str, str | None]] = []

    async def emit(event: ThreadStreamEvent) -> None:
        assert isinstance(event, ThreadItemDoneEvent)
        assert isinstance(event.item, WidgetItem)
        assert isinstance(event.item.widget, dict)
        found.append((event.item.widget["type"], event.item.copy_text))

    async def step(text: str) -> None:
        raise AssertionError(text)

    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
    turn = Turn(id="trn_1", owner_id="ann", thread=thread, history=[], message=None)
    result = types.CallToolResult(content=[], _meta=meta)
    await show_widgets(result, ToolContext(turn, emit, step), "It")
    return found


async def test_widgets_are_shown_in_their_order() -> None:
    sent = [{"widget": CARD, "copy_text": "Hi"}, {"widget": {"type": "ListView", "children": []}}]
    assert await shown({"bobbin/widgets": sent, "other": 1}) == [("Card", "Hi"), ("ListView", None)]


@pytest.mark.parametrize("meta", [None, {}, {"other": 1}, {"bobbin/widgets": []}])
async def test_most_results_have_none(meta: dict[str, Any] | None) -> None:
    assert await shown(meta) == []


@pytest.mark.parametrize(
    "sent",
    [
        1,
        "Card",
        CARD,
        [CARD],
        [{"widget": 1}],
        [{"widget": {"type": "Text", "value": "no root"}}],
        [{"widget": {"children": []}}],
        [{"widget": CARD, "copy_text": 1}],
    ],
)
async def test_what_is_no_widget_is_left_out(sent: Any) -> None:
    """The result still reaches the model."""
    assert await shown({"bobbin/widgets": sent}) == []
