"""An owner's own data, handed out and erased."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.store.conftest import (
    Store,
    assistant_message,
    begin,
    file_attachment,
    hidden_context,
)
from tests.unit.store.leases import admin, chunk

__all__ = ["admin"]


async def exported(store: Store) -> list[dict[str, Any]]:
    async with store.http.stream("GET", "/v1/owner/export", headers=store.headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        text = (await response.aread()).decode()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


async def fill(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post(
        "/turns/u1/finish", {"state": "completed", "items": [assistant_message("a", "t1", "x\x00")]}
    )
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    await store.post("/threads/t1/feedback", {"item_ids": ["a"], "kind": "positive"})
    await store.thread("t2", metadata={"k": None})
    await store.post("/attachments", file_attachment("f1", thread_id="t2"))
    await store.post("/attachments", file_attachment("f2"))


async def test_an_export_holds_everything_of_the_owner_and_nothing_of_others(store: Store) -> None:
    await fill(store)
    await fill(store.of("bob"))
    lines = await exported(store)
    assert [line["kind"] for line in lines] == [
        *["thread", "item", "item", "item", "turn", "feedback"],
        *["thread", "attachment", "attachment"],
    ]
    assert lines[0]["thread"] == (await store.get("/threads/t1"))["thread"]
    assert [line["item"]["id"] for line in lines[1:4]] == ["m-u1", "a", "h"]
    assert lines[2]["item"]["content"][0]["text"] == "x\x00"
    assert lines[4]["turn"] == await store.get("/turns/u1")
    assert lines[5]["feedback"] == (await store.get("/threads/t1/feedback"))[0]
    assert lines[7]["attachment"]["thread_id"] == "t2"


async def test_an_owner_without_data_exports_nothing(store: Store) -> None:
    assert await exported(store) == []


async def test_an_erased_owner_has_nothing_left_and_others_have_all(store: Store) -> None:
    await fill(store)
    await fill(store.of("bob"))
    assert await store.delete("/owner") == {
        "threads": 2,
        "items": 3,
        "turns": 1,
        "attachments": 2,
        "feedback": 1,
    }
    assert await exported(store) == []
    assert await store.delete("/owner") == dict.fromkeys(
        ["threads", "items", "turns", "attachments", "feedback"], 0
    )
    assert len(await exported(store.of("bob"))) == 9


async def test_an_erased_owner_is_in_no_journal_and_no_feed(store: Store, admin: Any) -> None:
    for caller in [store, store.of("bob")]:
        await caller.post("/turns", begin("u1", "t1"))
        await caller.post("/turns/u1/finish", {"state": "completed", "journal": [chunk(1)]})
    await store.delete("/owner")
    for table in ["journal", "changes"]:
        rows = await admin.fetch(f"SELECT owner_id FROM {table}")
        assert [row["owner_id"] for row in rows] == ["bob"], table
