"""Threads through the HTTP API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.conftest import Store, begin
from tests.unit.store.leases import admin, chunk

__all__ = ["admin"]


async def test_a_thread_is_read_back_as_it_was_made(store: Store) -> None:
    made = await store.thread(
        "t1",
        title="Zoë's \u2028 thread",
        created_at="2026-05-01T12:00:00+02:00",
        status={"type": "locked", "reason": "audit"},
        allowed_image_domains=["example.org"],
        metadata={"nested": {"null": None, "list": [1, 2.5, "\x00"]}},
    )
    assert made == {
        "title": "Zoë's \u2028 thread",
        "id": "t1",
        "created_at": "2026-05-01T10:00:00Z",
        "status": {"type": "locked", "reason": "audit"},
        "allowed_image_domains": ["example.org"],
        "metadata": {"nested": {"null": None, "list": [1, 2.5, "\x00"]}},
    }
    read = await store.get("/threads/t1")
    assert read == {"thread": made, "items": {"data": [], "has_more": False}}


async def test_a_thread_without_an_id_gets_one_and_the_time_of_now(store: Store) -> None:
    made = await store.post("/threads", {})
    assert made["id"].startswith("thr_")
    assert made["status"] == {"type": "active"}
    assert "title" not in made
    assert (await store.get(f"/threads/{made['id']}"))["thread"] == made


async def test_a_taken_id_is_a_conflict(store: Store) -> None:
    await store.thread("t1", title="first")
    answer = await store.call("POST", "/threads", {"id": "t1", "title": "second"})
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert (await store.get("/threads/t1"))["thread"]["title"] == "first"


async def test_a_change_touches_only_the_fields_it_names(store: Store) -> None:
    made = await store.thread("t1", title="old", metadata={"a": 1}, allowed_image_domains=["x.org"])
    changed = await store.patch("/threads/t1", {"title": "new"})
    assert changed == {**made, "title": "new"}
    changed = await store.patch("/threads/t1", {"status": {"type": "closed"}, "metadata": {}})
    assert changed == {**made, "title": "new", "status": {"type": "closed"}, "metadata": {}}
    assert (await store.get("/threads/t1"))["thread"] == changed


async def test_null_removes_a_title_and_the_image_domains(store: Store) -> None:
    await store.thread("t1", title="old", allowed_image_domains=["x.org"])
    changed = await store.patch("/threads/t1", {"title": None, "allowed_image_domains": None})
    assert "title" not in changed
    assert "allowed_image_domains" not in changed


async def test_a_deleted_thread_takes_everything_in_it_along(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "i1")
    await store.post("/threads/t1/feedback", {"item_ids": ["i1"], "kind": "positive"})
    await store.delete("/threads/t1")
    assert (await store.call("GET", "/threads/t1")).status == 404
    assert (await store.call("GET", "/threads/t1/items")).status == 404
    assert (await store.get("/threads"))["data"] == []
    await store.thread("t1")
    assert await store.item_ids("t1") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/threads/gone", None),
        ("PATCH", "/threads/gone", {"title": "x"}),
        ("DELETE", "/threads/gone", None),
        ("GET", "/threads/gone/items", None),
        ("GET", "/threads/gone/feedback", None),
        ("DELETE", "/threads/gone/items?after=i1", None),
    ],
)
async def test_an_unknown_thread_is_not_found(store: Store, method: str, path: str, body: object) -> None:
    answer = await store.call(method, path, body)
    assert (answer.status, answer.body["code"]) == (404, "not_found")


async def test_an_owner_never_sees_changes_or_deletes_threads_of_another(store: Store) -> None:
    await store.thread("t1", title="mine")
    await store.items("t1", "i1")
    bob = store.of("bob")
    for method, path, body in [
        ("GET", "/threads/t1", None),
        ("PATCH", "/threads/t1", {"title": "his"}),
        ("DELETE", "/threads/t1", None),
        ("GET", "/threads/t1/items", None),
        ("GET", "/threads/t1/items/i1", None),
        ("DELETE", "/threads/t1/items/i1", None),
        ("POST", "/threads/t1/feedback", {"item_ids": ["i1"], "kind": "negative"}),
    ]:
        assert (await bob.call(method, path, body)).status == 404, (method, path)
    assert (await bob.get("/threads"))["data"] == []
    assert (await bob.thread("t1", title="his"))["title"] == "his"
    assert (await store.get("/threads/t1"))["thread"]["title"] == "mine"
    assert await store.item_ids("t1") == ["i1"]


async def test_threads_are_listed_by_their_time_newest_first_by_default(store: Store) -> None:
    await store.thread("b", created_at="2026-01-02T00:00:00Z")
    await store.thread("c", created_at="2026-01-01T00:00:00Z")
    await store.thread("a", created_at="2026-01-02T00:00:00Z")
    assert [thread["id"] for thread in (await store.get("/threads"))["data"]] == ["b", "a", "c"]
    assert [thread["id"] for thread in (await store.get("/threads", order="asc"))["data"]] == ["c", "a", "b"]


async def test_threads_from_the_ends_of_time_are_listed_too(store: Store) -> None:
    await store.thread("first", created_at="0001-01-01T00:00:00Z")
    await store.thread("last", created_at="9999-12-31T23:59:59.999999Z")
    assert [thread["id"] for thread in (await store.get("/threads"))["data"]] == ["last", "first"]
    assert [thread["id"] for thread in (await store.get("/threads", order="asc"))["data"]] == [
        "first",
        "last",
    ]


async def test_a_page_says_where_the_next_begins(store: Store) -> None:
    for day in range(1, 4):
        await store.thread(f"t{day}", created_at=f"2026-01-0{day}T00:00:00Z")
    page = await store.get("/threads", limit=2)
    assert [thread["id"] for thread in page["data"]] == ["t3", "t2"]
    assert (page["has_more"], page["after"]) == (True, "t2")
    page = await store.get("/threads", limit=2, after="t2")
    assert [thread["id"] for thread in page["data"]] == ["t1"]
    assert page == {"data": page["data"], "has_more": False}


async def test_a_deleted_thread_leaves_nothing_in_the_journal_of_the_turns_of_its_last_hour(
    store: Store, admin: Any
) -> None:
    """What older turns left there has expired."""
    for caller, turn_id, thread_id in [
        *[(store, "u1", "t1"), (store, "old", "t2"), (store, "other", "t3"), (store.of("bob"), "u1", "t1")]
    ]:
        await caller.post("/turns", begin(turn_id, thread_id))
        await caller.post(f"/turns/{turn_id}/finish", {"state": "completed", "journal": [chunk(1, 2)]})
    await admin.execute("UPDATE turns SET started_at = now() - interval '2 hours' WHERE id = 'old'")
    await store.delete("/threads/t1")
    await store.delete("/threads/t2")
    rows = await admin.fetch("SELECT owner_id, turn_id FROM journal ORDER BY owner_id, turn_id")
    assert [tuple(row) for row in rows] == [("alice", "old"), ("alice", "other"), ("bob", "u1")]
