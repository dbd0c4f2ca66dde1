"""What the users saw beside what PostgreSQL has."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import asyncpg
from msgspec import Struct, field

from tests.chaos.users import Said

TURNS = """
SELECT owner_id, id, thread_id, message_id, state, ended_at, event_count, gateway_id, cancel_requested,
    idempotency_key, error
FROM bobbin.turns
"""
ITEMS = (
    "SELECT owner_id, thread_id, id, seq, type, turn_id, data::text AS data FROM bobbin.items ORDER BY seq"
)
JOURNAL = "SELECT first, last, data FROM bobbin.journal WHERE turn_id = $1 ORDER BY first"

FINAL_STATES = frozenset({"completed", "cancelled", "interrupted"})
"""What a turn may come to here: no model fails."""


class Item(Struct, frozen=True):
    """A stored item."""

    thread_id: str
    id: str
    kind: str
    turn_id: str | None
    document: dict[str, Any]

    @property
    def text(self) -> str:
        if self.kind not in {"user_message", "assistant_message"}:
            return ""
        return "".join(part["text"] for part in self.document["content"])


class Findings(Struct):
    """What the audit has to say."""

    states: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Audit:
    """One look at the database after everything has come to rest."""

    def __init__(self, turns: list[Any], items: list[Any]) -> None:
        self._turns = {(row["owner_id"], row["id"]): row for row in turns}
        self._keys = Counter(row["idempotency_key"] for row in turns)
        self._items: dict[str, list[Item]] = defaultdict(list)
        for row in items:
            item = Item(row["thread_id"], row["id"], row["type"], row["turn_id"], json.loads(row["data"]))
            self._items[row["owner_id"]].append(item)

    @classmethod
    async def of(cls, connection: asyncpg.Connection) -> Audit:
        return cls(await connection.fetch(TURNS), await connection.fetch(ITEMS))

    def compare(self, everything: list[Said]) -> Findings:
        """Check all that was said."""
        findings = Findings()
        findings.states.update(row["state"] for row in self._turns.values())
        keys = {said.key for said in everything}
        for row in self._turns.values():
            if row["idempotency_key"] not in keys:
                findings.problems.append(f"turn {row['id']} was asked for by nobody")
            if row["state"] not in FINAL_STATES or row["ended_at"] is None or row["gateway_id"] is not None:
                findings.problems.append(f"turn {row['id']} has not ended well: {dict(row)}")
        for said in everything:
            for problem in self._check(said, findings.counts):
                findings.problems.append(f"{said.key} ({said.turn_id}): {problem}")
        findings.counts["messages stored"] = sum(
            item.kind == "user_message" for items in self._items.values() for item in items
        )
        return findings

    def _check(self, said: Said, counts: Counter[str]) -> list[str]:
        """What is wrong with one message and its turn."""
        counts["messages"] += 1
        counts["messages acknowledged"] += said.message_id is not None
        items = self._items[said.owner]
        messages = [item for item in items if item.kind == "user_message" and item.text == said.text]
        problems: list[str] = []
        if [item.id for item in messages] != [said.message_id]:
            problems.append(f"acknowledged as {said.message_id}, stored as {[item.id for item in messages]}")
        if self._keys[said.key] != 1:
            problems.append(f"{self._keys[said.key]} turns of one key")
        turn = self._turns.get((said.owner, said.turn_id or ""))
        if turn is None:
            return [*problems, "its turn is not there"]
        if said.numbers != list(range(1, turn["event_count"] + 1)):
            problems.append(f"events {said.numbers}, of {turn['event_count']}")
        return [*problems, *self._check_answer(said, turn, counts)]

    def _check_answer(self, said: Said, turn: Any, counts: Counter[str]) -> list[str]:
        problems: list[str] = []
        own = [item for item in self._items[said.owner] if item.turn_id == said.turn_id]
        stored = "".join(item.text for item in own if item.kind == "assistant_message")
        done = [event["item"]["id"] for event in said.events if event["type"] == "thread.item.done"]
        visible = [item.id for item in own if item.kind != "sdk_hidden_context"]
        if done != visible:
            problems.append(f"items told {done}, stored {visible}")
        counts["answers as read"] += said.deltas == stored
        if said.deltas != stored and not (turn["state"] == "interrupted" and stored.startswith(said.deltas)):
            problems.append(f"read {said.deltas!r}, stored {stored!r}")
        if not said.expected.startswith(stored) or (turn["state"] == "completed" and stored != said.expected):
            problems.append(f"expected {said.expected!r}, stored {stored!r}")
        errors = [event for event in said.events if event["type"] == "error"]
        if turn["state"] == "interrupted":
            if errors != said.events[-1:] or not errors[0]["allow_retry"]:
                problems.append(f"interrupted, but told: {errors}")
        elif errors:
            problems.append(f"{turn['state']}, but told: {errors}")
        if turn["state"] == "cancelled" and not said.stopped:
            problems.append("cancelled by nobody")
        return problems

    async def describe(self, said: Said, connection: asyncpg.Connection) -> str:
        """All that helps to understand what went wrong with one message."""
        turn = self._turns.get((said.owner, said.turn_id or ""))
        lines = [f"== {said.key} {said.text!r}", f"turn: {turn and dict(turn)}", *said.history]
        lines += [
            f"read {number}: {_short(event)}" for number, event in zip(said.numbers, said.events, strict=True)
        ]
        for row in await connection.fetch(JOURNAL, said.turn_id):
            frames = row["data"].decode().split("\n\n")[:-1]
            told = [_short(json.loads(frame.removeprefix("data: "))) for frame in frames]
            lines.append(f"journal {row['first']}-{row['last']}: {'; '.join(told)}")
        lines += [
            f"stored in {item.thread_id}: {json.dumps(item.document)} (turn {item.turn_id})"
            for item in self._items[said.owner]
            if item.turn_id == said.turn_id or item.text == said.text
        ]
        return "\n".join(lines)


def _short(event: dict[str, Any]) -> str:
    """An event, for people."""
    update = event.get("update", {})
    item = event.get("item", {})
    what = update.get("delta") or update.get("type") or item.get("id") or event.get("message", "")
    return f"{event['type']} {what!r}"
