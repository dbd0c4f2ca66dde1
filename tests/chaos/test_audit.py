"""The audit sees what it is there for: a chaos that cannot fail would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.audit import Audit, Findings
from tests.chaos.users import Said

Rows = list[dict[str, Any]]


def item(item_id: str, kind: str, text: str) -> dict[str, Any]:
    document = {"type": kind, "id": item_id, "thread_id": "thr", "content": [{"text": text}]}
    return {
        "owner_id": "ann",
        "thread_id": "thr",
        "id": item_id,
        "type": kind,
        "turn_id": "trn",
        "data": json.dumps(document),
    }


def delta(text: str) -> dict[str, Any]:
    update = {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": text}
    return {"type": "thread.item.updated", "item_id": "answer", "update": update}


def done(item_id: str, kind: str) -> dict[str, Any]:
    return {"type": "thread.item.done", "item": {"type": kind, "id": item_id}}


ERROR = {"type": "error", "allow_retry": True}


def scene() -> tuple[Rows, Rows, Said]:
    """A turn that was cut short, all in order."""
    turn = {
        "owner_id": "ann",
        "id": "trn",
        "thread_id": "thr",
        "message_id": "question",
        "state": "interrupted",
        "ended_at": datetime.now(UTC),
        "event_count": 5,
        "gateway_id": None,
        "cancel_requested": False,
        "idempotency_key": "key",
        "error": None,
    }
    items = [item("question", "user_message", "What?"), item("answer", "assistant_message", "one two")]
    said = Said(
        owner="ann",
        key="key",
        text="What?",
        expected="one two three",
        body=b"",
        thread_id="thr",
        message_id="question",
        turn_id="trn",
        numbers=[1, 2, 3, 4, 5],
        events=[
            done("question", "user_message"),
            delta("one "),
            delta("two"),
            done("answer", "assistant_message"),
            ERROR,
        ],
        done=True,
    )
    return [turn], items, said


def look(turns: Rows, items: Rows, said: Said) -> Findings:
    return Audit(turns, items).compare([said])


def test_what_is_in_order_is_found_in_order() -> None:
    findings = look(*scene())
    assert findings.problems == []
    assert findings.counts["answers as read"] == findings.counts["messages stored"] == 1


Damage = Callable[[Rows, Rows, Said], object]

DAMAGES: dict[str, Damage] = {
    "message lost": lambda turns, items, said: items.pop(0),
    "message stored twice": lambda turns, items, said: items.append(item("again", "user_message", "What?")),
    "another turn": lambda turns, items, said: turns.append({**turns[0], "id": "trn2"}),
    "turn nobody asked for": lambda turns, items, said: turns.append(
        {**turns[0], "id": "trn2", "idempotency_key": "other"}
    ),
    "turn lost": lambda turns, items, said: turns.clear(),
    "turn still running": lambda turns, items, said: turns[0].update(state="running", ended_at=None),
    "turn failed": lambda turns, items, said: turns[0].update(state="failed"),
    "turn still leased": lambda turns, items, said: turns[0].update(gateway_id="gw"),
    "cancelled by nobody": lambda turns, items, said: turns[0].update(state="cancelled"),
    "event lost": lambda turns, items, said: (said.numbers.pop(1), said.events.pop(1)),
    "event doubled": lambda turns, items, said: (
        said.numbers.insert(1, 2),
        said.events.insert(1, delta("one ")),
    ),
    "events not told": lambda turns, items, said: (said.numbers.pop(), said.events.pop()),
    "answer lost": lambda turns, items, said: items.pop(),
    "answer shorter than read": lambda turns, items, said: items.__setitem__(
        1, item("answer", "assistant_message", "one")
    ),
    "answer that was never given": lambda turns, items, said: items.__setitem__(
        1, item("answer", "assistant_message", "two one")
    ),
    "no error told": lambda turns, items, said: said.events.__setitem__(4, delta("")),
    "not whole": lambda turns, items, said: (
        turns[0].update(state="completed"),
        said.events.__setitem__(4, delta("")),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_not_is_told(damage: Damage) -> None:
    turns, items, said = scene()
    damage(turns, items, said)
    assert look(turns, items, said).problems != []
