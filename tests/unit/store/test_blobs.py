"""Blobs to remove, through the HTTP API: nothing that an attachment leaves behind is forgotten."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.unit.store.conftest import Store, begin, file_attachment


async def sweep(store: Store, removed: list[Any] | None = None, **options: Any) -> list[tuple[str, str]]:
    answer = await store.post("/blobs/sweep", {"removed": removed or [], **options})
    return sorted((blob["owner_id"], blob["attachment_id"]) for blob in answer["blobs"])


async def test_nothing_is_to_be_removed_at_first(store: Store) -> None:
    await store.post("/attachments", file_attachment("a"))
    assert await sweep(store) == []


async def test_the_blob_of_a_deleted_attachment_is_to_be_removed(store: Store) -> None:
    await store.post("/attachments", file_attachment("a"))
    await store.delete("/attachments/a")
    assert await sweep(store) == [("alice", "a")]


async def test_the_blobs_of_a_deleted_thread_are_to_be_removed_and_no_others(store: Store) -> None:
    for attachment_id in ["a", "b", "c"]:
        await store.post("/attachments", file_attachment(attachment_id))
    await store.post("/turns", begin("u1", "t1", attachment_ids=["a", "b"]))
    await store.post("/turns", begin("u2", "t2", attachment_ids=["c"]))
    await store.delete("/threads/t1")
    assert await sweep(store) == [("alice", "a"), ("alice", "b")]


async def test_the_blobs_of_an_erased_owner_are_to_be_removed_and_no_others(store: Store) -> None:
    bob = store.of("bob")
    for one in (store, bob):
        await one.post("/attachments", file_attachment("unsent"))
        await one.post("/attachments", file_attachment("sent"))
        await one.post("/turns", begin("u1", "t1", attachment_ids=["sent"]))
    await store.delete("/owner")
    assert await sweep(store) == [("alice", "sent"), ("alice", "unsent")]


async def test_an_attachment_that_nobody_sends_is_forgotten_and_its_blob_to_be_removed(
    store: Store, database_url: str
) -> None:
    for attachment_id in ["old", "new", "sent"]:
        await store.post("/attachments", file_attachment(attachment_id))
    await store.post("/turns", begin("u1", "t1", attachment_ids=["sent"]))
    await run(
        database_url, "UPDATE attachments SET touched_at = now() - interval '2 hours' WHERE id <> 'new'"
    )
    assert await sweep(store) == []
    assert await sweep(store, unsent_for_s=3600) == [("alice", "old")]
    assert (await store.call("GET", "/attachments/old")).status == 404
    assert (await store.get("/attachments/new"))["id"] == "new"
    assert (await store.get("/attachments/sent"))["thread_id"] == "t1"


async def test_an_attachment_that_is_being_sent_is_not_forgotten_before_its_thread_has_it(
    store: Store, database_url: str
) -> None:
    await store.post("/attachments", file_attachment("a"))
    await run(database_url, "UPDATE attachments SET touched_at = now() - interval '2 hours'")
    answer = await store.call("POST", "/turns", begin("u1", "t1", "add_user_message", attachment_ids=["a"]))
    assert answer.status == 404  # it got as far as the thread
    assert await sweep(store, unsent_for_s=3600) == []


async def test_what_is_handed_out_comes_again_unless_confirmed_and_once_more_after_an_hour(
    store: Store, database_url: str
) -> None:
    await store.post("/attachments", file_attachment("a"))
    await store.delete("/attachments/a")
    blob = {"owner_id": "alice", "attachment_id": "a"}
    minute = "UPDATE removed_blobs SET due_at = due_at - interval '1 minute'"
    hour = "UPDATE removed_blobs SET (removed_at, due_at) = (removed_at - interval '61 min', due_at - interval '61 min')"  # noqa: E501
    assert await sweep(store) == [("alice", "a")]
    assert await sweep(store) == []  # it is someone's
    await run(database_url, minute)
    assert await sweep(store) == [("alice", "a")]
    assert await sweep(store, [blob]) == []
    await run(database_url, minute)
    assert await sweep(store) == []
    await run(database_url, hour)
    assert await sweep(store) == [("alice", "a")]
    assert await sweep(store, [blob]) == []
    assert await run(database_url, "DELETE FROM removed_blobs") == "DELETE 0"


async def test_sweeps_are_bounded_and_say_whether_there_is_more(store: Store, database_url: str) -> None:
    for n in range(5):
        await store.post("/attachments", file_attachment(f"a{n}"))
    await run(database_url, "UPDATE attachments SET touched_at = now() - interval '2 hours'")
    seen: list[str] = []
    for more in [True, True, False]:
        answer = await store.post("/blobs/sweep", {"unsent_for_s": 3600, "limit": 2})
        assert answer.get("more", False) is more
        seen += [blob["attachment_id"] for blob in answer["blobs"]]
    assert sorted(seen) == [f"a{n}" for n in range(5)]


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"unsent_for_s": 0}, {"removed": [{}]}])
async def test_what_is_no_sweep_is_refused(store: Store, body: dict[str, Any]) -> None:
    assert (await store.call("POST", "/blobs/sweep", body)).status == 400


async def run(dsn: str, sql: str) -> str:
    """Let time pass."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin"})
    try:
        return await connection.execute(sql)
    finally:
        await connection.close()
