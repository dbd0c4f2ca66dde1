"""Pages: whatever their size and order, together they are the list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bobbin_store.pages import DEFAULT_SIZE, MAX_SIZE, PageRequest, cut
from tests.postgres import Postgres
from tests.unit.store.conftest import Store, running_app

COUNT = 23
ORDERS = st.sampled_from(["asc", "desc"])


@pytest.fixture(scope="module")
async def filled(postgres: Postgres) -> AsyncIterator[Store]:
    """A store with COUNT threads, three of each time, and COUNT items in one of them."""
    async with postgres.migrated() as dsn, running_app(dsn) as http:
        store = Store(http, "alice", "json")
        for number in range(COUNT):
            await store.thread(f"t{number:02}", created_at=f"2026-01-{number // 3 + 1:02}T00:00:00Z")
        await store.items("t00", *(f"i{number:02}" for number in range(COUNT)))
        await store.of("bob").thread("t-of-bob", created_at="2026-01-02T00:00:00Z")
        yield store


async def pages_together(ask: Callable[..., Awaitable[Any]], path: str, limit: int, order: str) -> list[str]:
    ids: list[str] = []
    query: dict[str, Any] = {"limit": limit, "order": order}
    while True:
        page = await ask(path, **query)
        assert len(page["data"]) <= limit
        ids += [entry["id"] for entry in page["data"]]
        if not page["has_more"]:
            assert "after" not in page
            return ids
        assert page["after"] == ids[-1]
        query["after"] = page["after"]


@settings(max_examples=40)
@given(
    limit=st.integers(1, COUNT + 2), order=ORDERS, path=st.sampled_from(["/threads", "/threads/t00/items"])
)
async def test_pages_of_any_size_make_up_the_list(filled: Store, limit: int, order: str, path: str) -> None:
    prefix = "t" if path == "/threads" else "i"
    expected = [f"{prefix}{number:02}" for number in range(COUNT)]
    ids = await pages_together(filled.get, path, limit, order)
    assert ids == (expected if order == "asc" else expected[::-1])


@pytest.mark.parametrize("path", ["/threads", "/threads/t00/items"])
async def test_an_unknown_cursor_is_a_clear_error(filled: Store, path: str) -> None:
    for after in ["unknown", "t-of-bob"]:
        answer = await filled.call("GET", path, after=after)
        assert (answer.status, answer.body["field"]) == (400, "after"), answer
        assert "after" in answer.body["detail"]


@pytest.mark.parametrize("path", ["/threads", "/threads/t00/items"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"order": "sideways"}, "order"),
        ({"after": ""}, "after"),
        ({"after": "nul\x00"}, "after"),
    ],
)
async def test_a_broken_page_request_is_refused_by_name(
    filled: Store, path: str, query: dict[str, Any], field: str
) -> None:
    answer = await filled.call("GET", path, **query)
    assert (answer.status, answer.body["field"]) == (400, field), answer


@pytest.mark.parametrize(("limit", "size"), [(0, 20), (1, 1), (100, 100), (101, 100), (10**9, 100)])
def test_zero_means_the_default_and_the_size_is_capped(limit: int, size: int) -> None:
    assert PageRequest(limit).size == size
    assert (DEFAULT_SIZE, MAX_SIZE) == (20, 100)


async def test_a_huge_limit_is_no_error(filled: Store) -> None:
    for limit in [10**9, 2**63, 2**64]:
        assert len((await filled.get("/threads", limit=limit))["data"]) == COUNT


def test_the_cursor_is_the_last_id_of_a_page_with_more_behind_it() -> None:
    page = cut(["A", "B", "C"], ["a", "b", "c"], 2)
    assert (page.data, page.has_more, page.after) == (["A", "B"], True, "b")
    page = cut(["A", "B"], ["a", "b"], 2)
    assert (page.data, page.has_more, page.after) == (["A", "B"], False, None)
