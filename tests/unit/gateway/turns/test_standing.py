"""A thread shows what its running turn has said so far, however long that is."""

from __future__ import annotations

from typing import Any

from bobbin_gateway.turns.registry import RunningTurns
from bobbin_gateway.turns.standing import StandingItems
from bobbin_protocol.events import ThreadItemAddedEvent, ThreadItemUpdatedEvent
from bobbin_protocol.items import AssistantMessageItem
from bobbin_protocol.sse import encode_event
from bobbin_protocol.updates import AssistantMessageContentPartTextDelta
from bobbin_protocol.wire import encode_json
from tests.unit.gateway.openai_agent.samples import IDS
from tests.unit.gateway.turns.broken_store import broken_store


async def test_a_journal_that_comes_in_parts_is_read_to_its_end() -> None:
    item = AssistantMessageItem(id="msg_1", content=[], **IDS)
    deltas = [
        ThreadItemUpdatedEvent(
            item_id="msg_1", update=AssistantMessageContentPartTextDelta(content_index=0, delta=f"{n} ")
        )
        for n in range(20)
    ]
    frames = [encode_event(encode_json(event)) for event in (ThreadItemAddedEvent(item=item), *deltas)]
    chunks = [{"first": n, "last": n, "data": frame} for n, frame in enumerate(frames, 1)]

    async def watch(body: Any) -> dict[str, Any]:
        [turn] = body["turns"]
        behind = [chunk for chunk in chunks if chunk["first"] > turn.get("after", 0)]
        return {"turns": [{"state": "running", "journal": behind[:3], "more": len(behind) > 3}]}

    async with broken_store(watch=watch) as store:
        standing = await StandingItems(RunningTurns(), store, "ann", "thr_1").read("trn_1")
    [made] = standing.made
    assert made["content"][0]["text"] == "".join(f"{n} " for n in range(20))
