"""Watching turns that run elsewhere: how they stand, and what the journal has behind what one knows."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_store import watch
from tests.unit.store.conftest import Store, begin
from tests.unit.store.leases import admin, alive, chunk, entry, finish, text_of, turn, write

__all__ = ["admin"]


async def look(store: Store, *turns: tuple[str, int], owner: str = "alice") -> list[Any]:
    body = [{"owner_id": owner, "turn_id": turn_id, "after": after} for turn_id, after in turns]
    return (await store.post("/watch", {"turns": body}))["turns"]


async def test_a_reader_gets_what_it_does_not_have_in_the_order_asked(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    for turn_id in ["u1", "u2"]:
        await turn(store, turn_id, "gw_a")
    await write(store, "gw_a", entry("u1", 1, 3), entry("u2", 1), entry("u1", 4, 5), entry("u1", 6))
    for after, text in [(0, "1;2;3;4;5;6;"), (3, "4;5;6;"), (5, "6;"), (6, ""), (99, "")]:
        second, first = await look(store, ("u2", 0), ("u1", after))
        assert text_of(first.pop("journal")) == text
        assert text_of(second.pop("journal")) == "1;"
        assert first == second == {"state": "running"}


async def test_the_end_of_a_turn_comes_with_its_number_of_events_and_the_last_of_them(
    store: Store, admin: Any
) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await write(store, "gw_a", entry("u1", 1, 3))
    end = {"state": "completed", "gateway_id": "gw_a", "event_count": 5, "journal": [chunk(4, 5)]}
    await store.post("/turns/u1/finish", end)
    (progress,) = await look(store, ("u1", 3))
    assert (progress["state"], progress["event_count"]) == ("completed", 5)
    assert text_of(progress["journal"]) == "4;5;"


async def test_a_superseded_turn_has_no_number_of_events_until_it_has_ended(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await store.post("/turns", begin("u2", "t-u1", "add_user_message"))
    assert await look(store, ("u1", 0)) == [{"state": "interrupted", "journal": []}]
    await finish(store, "u1", "gw_a", "cancelled")
    assert await look(store, ("u1", 0)) == [{"state": "interrupted", "event_count": 0, "journal": []}]


async def test_a_turn_that_was_never_journalled_or_never_was_says_so(store: Store) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed", "event_count": 7})
    assert await look(store, ("u1", 0), ("gone", 0)) == [
        {"state": "completed", "event_count": 7, "journal": []},
        {"state": None, "journal": []},
    ]


async def test_a_turn_that_ended_before_turns_were_numbered_has_no_events(store: Store, admin: Any) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed"})
    await admin.execute("UPDATE turns SET event_count = NULL")
    assert await look(store, ("u1", 0)) == [{"state": "completed", "event_count": 0, "journal": []}]


async def test_nobody_reads_turns_in_another_owners_name(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await write(store, "gw_a", entry("u1", 1))
    assert await look(store, ("u1", 0), owner="bob") == [{"state": None, "journal": []}]


async def test_chunks_from_before_and_after_a_change_of_slots_are_one_journal(
    store: Store, admin: Any
) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await write(store, "gw_a", entry("u1", 1), entry("u1", 2), entry("u1", 3))
    await admin.execute("UPDATE journal SET slot = (slot + 1) % 3 WHERE first = 1")
    await admin.execute("UPDATE journal SET slot = (slot + 2) % 3 WHERE first = 2")
    (progress,) = await look(store, ("u1", 0))
    assert text_of(progress["journal"]) == "1;2;3;"


@pytest.mark.parametrize("most", ["MOST_BYTES", "MOST_CHUNKS"])
async def test_what_there_is_no_room_for_comes_with_the_next_looks_and_every_turn_gets_on(
    store: Store, admin: Any, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    monkeypatch.setattr(watch, most, 3)
    await alive(store, "gw_a")
    for turn_id in ["u1", "u2"]:
        await turn(store, turn_id, "gw_a")
    await write(store, "gw_a", *(entry(turn_id, n) for turn_id in ["u1", "u2"] for n in range(1, 9)))
    await store.post("/turns/u1/finish", {"state": "completed", "gateway_id": "gw_a", "event_count": 8})
    read, looks, more = {"u1": 0, "u2": 0}, 0, True
    while more:
        progress = await look(store, *read.items())
        for turn_id, one in zip(read, progress, strict=True):
            expected = "".join(f"{n};" for n in range(read[turn_id] + 1, 9))
            assert expected.startswith(text_of(one["journal"]))
            read[turn_id] += len(one["journal"])
        more, looks = any(one.get("more") for one in progress), looks + 1
        assert not more or all(one["journal"] for one in progress if one.get("more"))
    assert read == {"u1": 8, "u2": 8}
    assert looks > 2


async def test_an_empty_watch_is_answered_at_once(store: Store) -> None:
    assert await store.post("/watch", {}) == {"turns": [], "changes": []}


async def test_only_who_shows_the_service_token_watches(store: Store) -> None:
    assert (await store.http.post("/v1/watch", json={})).status_code == 401
