"""Attachments through the HTTP API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.conftest import Store, file_attachment

IMAGE = {
    "type": "image",
    "id": "a1",
    "name": "Zoë.png",
    "mime_type": "image/png",
    "preview_url": "https://example.org/a1?size=small",
    "upload_descriptor": {"url": "https://example.org/up", "method": "PUT", "headers": {"x": "y"}},
    "metadata": {"path": "a/1", "null": None},
}


async def test_an_attachment_is_read_back_as_it_was_made(store: Store) -> None:
    assert await store.post("/attachments", IMAGE) == IMAGE
    assert await store.get("/attachments/a1") == IMAGE


async def test_a_taken_id_is_a_conflict(store: Store) -> None:
    await store.post("/attachments", IMAGE)
    answer = await store.call("POST", "/attachments", file_attachment("a1"))
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert await store.get("/attachments/a1") == IMAGE


async def test_put_replaces_an_attachment_which_stays_with_its_thread(store: Store) -> None:
    await store.thread("t1")
    await store.put("/attachments/a1", file_attachment("a1", thread_id="t1"))
    replaced = await store.put("/attachments/a1", IMAGE)
    assert replaced == {**IMAGE, "thread_id": "t1"}
    assert await store.get("/attachments/a1") == replaced


async def test_an_attachment_whose_bytes_have_come_needs_no_upload_any_more(store: Store) -> None:
    await store.post("/attachments", IMAGE)
    complete = {key: value for key, value in IMAGE.items() if key != "upload_descriptor"}
    for _ in range(2):
        assert await store.post("/attachments/a1/complete", None) == complete
    assert await store.get("/attachments/a1") == complete


async def test_a_deleted_attachment_is_not_completed(store: Store) -> None:
    await store.post("/attachments", IMAGE)
    await store.delete("/attachments/a1")
    assert (await store.call("POST", "/attachments/a1/complete")).status == 404
    assert (await store.call("GET", "/attachments/a1")).status == 404


async def test_a_deleted_attachment_is_gone(store: Store) -> None:
    await store.post("/attachments", IMAGE)
    await store.delete("/attachments/a1")
    assert (await store.call("GET", "/attachments/a1")).status == 404
    assert (await store.call("DELETE", "/attachments/a1")).status == 404


async def test_an_attachment_goes_with_its_thread(store: Store) -> None:
    await store.thread("t1")
    await store.post("/attachments", file_attachment("a1", thread_id="t1"))
    await store.delete("/threads/t1")
    assert (await store.call("GET", "/attachments/a1")).status == 404


async def test_an_attachment_of_an_unknown_thread_is_not_found(store: Store) -> None:
    answer = await store.call("POST", "/attachments", file_attachment("a1", thread_id="gone"))
    assert answer.status == 404
    assert (await store.call("GET", "/attachments/a1")).status == 404


async def test_an_owner_never_reaches_attachments_of_another(store: Store) -> None:
    await store.post("/attachments", IMAGE)
    bob = store.of("bob")
    assert (await bob.call("GET", "/attachments/a1")).status == 404
    assert (await bob.call("DELETE", "/attachments/a1")).status == 404
    assert (await bob.call("POST", "/attachments/a1/complete")).status == 404
    await bob.put("/attachments/a1", file_attachment("a1"))
    assert await store.get("/attachments/a1") == IMAGE


@pytest.mark.parametrize(
    "change",
    [{"id": "nul\x00"}, {"id": ""}, {"type": "video"}, {"preview_url": "not a url"}, {"thread_id": "a b"}],
)
async def test_what_is_no_attachment_is_refused(store: Store, change: dict[str, Any]) -> None:
    answer = await store.call("POST", "/attachments", IMAGE | change)
    assert (answer.status, answer.body["code"]) == (400, "invalid_request")
    assert answer.body["field"].startswith("$")


async def test_a_put_under_another_id_is_refused(store: Store) -> None:
    answer = await store.call("PUT", "/attachments/other", IMAGE)
    assert (answer.status, answer.body["field"]) == (400, "$.id")
