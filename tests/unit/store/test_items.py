"""Items through the HTTP API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.conftest import CREATED_AT, Store, assistant_message, begin, hidden_context


async def test_an_item_is_read_back_as_it_was_sent_with_fields_this_version_does_not_know(
    store: Store,
) -> None:
    await store.thread("t1")
    item = {
        **assistant_message("i1", "t1", text='NUL \x00, emoji 🧵, U+2028 \u2028, and a quote "'),
        "from_the_future": {"list": [None, 1, 2.5, True], "text": "\x00"},
    }
    assert await store.post("/threads/t1/items", item) == item
    assert await store.get("/threads/t1/items/i1") == item
    assert (await store.get("/threads/t1/items"))["data"] == [item]
    assert (await store.get("/threads/t1"))["items"]["data"] == [item]


async def test_items_stand_in_the_order_they_came_whatever_their_times(store: Store) -> None:
    await store.thread("t1")
    for item_id, year in [("a", "2030"), ("b", "2020"), ("c", "2025")]:
        item = assistant_message(item_id, "t1") | {"created_at": f"{year}-01-01T00:00:00Z"}
        await store.post("/threads/t1/items", item)
    newest_first = await store.get("/threads/t1/items")
    assert [item["id"] for item in newest_first["data"]] == ["c", "b", "a"]
    assert await store.item_ids("t1") == ["a", "b", "c"]


async def test_a_taken_id_is_a_conflict_within_its_thread_only(store: Store) -> None:
    await store.thread("t1")
    await store.thread("t2")
    await store.items("t1", "i1")
    answer = await store.call("POST", "/threads/t1/items", assistant_message("i1", "t1", text="other"))
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    await store.items("t2", "i1")


async def test_put_replaces_an_item_where_it_stands_or_appends_it(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "a", "b")
    changed = assistant_message("a", "t1", text="changed")
    await store.put("/threads/t1/items/a", changed)
    await store.put("/threads/t1/items/c", assistant_message("c", "t1"))
    assert await store.item_ids("t1") == ["a", "b", "c"]
    assert await store.get("/threads/t1/items/a") == changed


async def test_an_item_can_be_deleted(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "a", "b")
    await store.delete("/threads/t1/items/a")
    assert await store.item_ids("t1") == ["b"]
    assert (await store.call("DELETE", "/threads/t1/items/a")).status == 404
    assert (await store.call("GET", "/threads/t1/items/a")).status == 404


async def test_a_thread_can_be_cut_after_an_item(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "a", "b", "c")
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    assert await store.delete("/threads/t1/items", after="b") == {"item_ids": ["c", "h"]}
    assert await store.item_ids("t1") == ["a", "b"]
    assert await store.delete("/threads/t1/items", after="b") == {"item_ids": []}


async def test_a_cut_without_saying_where_is_refused(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "a")
    answer = await store.call("DELETE", "/threads/t1/items")
    assert (answer.status, answer.body["field"]) == (400, "after")
    answer = await store.call("DELETE", "/threads/t1/items", after="unknown")
    assert answer.status == 404
    assert await store.item_ids("t1") == ["a"]


async def test_hidden_items_are_listed_only_when_asked_for(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", "a")
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    assert [item["id"] for item in (await store.get("/threads/t1/items"))["data"]] == ["a"]
    assert [item["id"] for item in (await store.get("/threads/t1"))["items"]["data"]] == ["a"]
    listed = await store.get("/threads/t1/items", hidden=True)
    assert [item["id"] for item in listed["data"]] == ["h", "a"]
    assert (await store.get("/threads/t1/items/h"))["content"] == "The user cancelled the stream."


async def test_a_thread_comes_with_the_first_page_of_its_items_oldest_first(store: Store) -> None:
    await store.thread("t1")
    await store.items("t1", *(f"i{number:02}" for number in range(22)))
    page = (await store.get("/threads/t1"))["items"]
    assert [item["id"] for item in page["data"]] == [f"i{number:02}" for number in range(20)]
    assert (page["has_more"], page["after"]) == (True, "i19")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "unheard_of"}, "$"),
        ({"type": None}, "$"),
        ({"id": ""}, "$"),
        ({"id": "nul\x00"}, "$"),
        ({"id": "x" * 129}, "$"),
        ({"id": 5}, "$"),
        ({"thread_id": "t2"}, "$.thread_id"),
        ({"created_at": "yesterday"}, "$"),
        ({"content": "text"}, "$"),
        ({"content": [{"type": "output_text"}]}, "$"),
    ],
)
async def test_what_is_no_item_of_the_thread_is_refused_by_name(
    store: Store, change: dict[str, Any], field: str
) -> None:
    await store.thread("t1")
    item = assistant_message("i1", "t1") | change
    answer = await store.call("POST", "/threads/t1/items", item)
    assert (answer.status, answer.body["code"]) == (400, "invalid_request"), answer
    assert answer.body["field"].startswith(field)
    assert await store.item_ids("t1") == []


async def test_a_put_under_another_id_is_refused(store: Store) -> None:
    await store.thread("t1")
    answer = await store.call("PUT", "/threads/t1/items/other", assistant_message("i1", "t1"))
    assert (answer.status, answer.body["field"]) == (400, "$.id")


async def test_an_item_of_an_unknown_thread_is_not_found(store: Store) -> None:
    answer = await store.call("POST", "/threads/gone/items", assistant_message("i1", "gone"))
    assert answer.status == 404


async def test_a_large_item_comes_back_whole(store: Store) -> None:
    await store.thread("t1")
    text = "🧵" * 1_000_000
    await store.post("/threads/t1/items", assistant_message("i1", "t1", text=text))
    assert (await store.get("/threads/t1/items/i1"))["content"][0]["text"] == text


async def test_every_kind_of_item_can_be_stored(store: Store) -> None:
    base = {"thread_id": "t1", "created_at": CREATED_AT}
    kinds: list[dict[str, Any]] = [
        {"type": "client_tool_call", "call_id": "c", "name": "n", "arguments": {"a": None}, "output": [1]},
        {"type": "widget", "widget": {"type": "Card", "children": [{"type": "Text", "value": "hi"}]}},
        {"type": "generated_image", "image": {"id": "g", "url": "https://example.org/i.png"}},
        {"type": "task", "task": {"type": "thought", "content": "hm"}},
        {"type": "workflow", "workflow": {"type": "custom", "tasks": [], "expanded": False}},
        {"type": "end_of_turn"},
        {"type": "hidden_context_item", "content": {"any": "thing"}},
    ]
    await store.thread("t1")
    for number, kind in enumerate(kinds):
        await store.post("/threads/t1/items", {**base, "id": f"i{number}", **kind})
    page = await store.get("/threads/t1/items", order="asc", hidden=True)
    assert page["data"] == [{**base, "id": f"i{number}", **kind} for number, kind in enumerate(kinds)]


async def test_a_page_of_items_names_the_turn_that_runs_in_the_thread(store: Store) -> None:
    """Also a page without items, so that its reader can add what the turn has said so far."""
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns", begin("elsewhere", "t2"))
    pages = [("/threads/t1/items", {}), ("/threads/t1/items", {"order": "asc"})]
    pages.append(("/threads/t1/items", {"after": "m-u1"}))
    for path, query in pages:
        assert (await store.get(path, **query))["running_turn_id"] == "u1"
    assert (await store.get("/threads/t1"))["items"]["running_turn_id"] == "u1"
    await store.post("/turns/u1/finish", {"state": "completed"})
    for path, query in pages:
        assert "running_turn_id" not in await store.get(path, **query)
    assert "running_turn_id" not in (await store.get("/threads/t1"))["items"]
