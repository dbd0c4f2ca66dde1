"""Changes: who watches sees each exactly once, whatever is committed when."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import asyncpg
import pytest

from bobbin_store import changes
from tests.unit.store.conftest import Store, assistant_message, begin, hidden_context, retry, user_message
from tests.unit.store.leases import admin, held

__all__ = ["admin"]


class Watcher:
    """One who watches an owner, or one of their threads."""

    def __init__(self, store: Store, owner: str = "alice", thread_id: str | None = None) -> None:
        self.store = store
        self.owner = owner
        self.thread_id = thread_id
        self.position: str | None = None

    async def answer(self) -> Any:
        wanted = {"owner_id": self.owner, "thread_id": self.thread_id, "after": self.position}
        (answer,) = (await self.store.post("/watch", {"changes": [wanted]}))["changes"]
        self.position = answer["position"]
        return answer

    async def look(self) -> list[str]:
        """The turns that began and the events, as short texts."""
        answer = await self.answer()
        assert "expired" not in answer
        return [told(change) for change in answer["changes"]]


def told(change: Any) -> str:
    return change["turn_id"]


async def tell(connection: Any, *turn_ids: str, owner: str = "alice", thread_id: str = "t1") -> None:
    for turn_id in turn_ids:
        await connection.execute(
            "INSERT INTO changes (owner_id, thread_id, turn_id) VALUES ($1, $2, $3)",
            owner,
            thread_id,
            turn_id,
        )


async def test_who_begins_to_watch_is_told_of_what_comes_then_and_once(store: Store, admin: Any) -> None:
    watcher = Watcher(store)
    await tell(admin, "before")
    assert await watcher.look() == []
    await tell(admin, "u1", "u2")
    assert await watcher.look() == ["u1", "u2"]
    assert await watcher.look() == []
    await tell(admin, "u3")
    assert await watcher.look() == ["u3"]


async def test_each_sees_their_own_owner_or_thread(store: Store, admin: Any) -> None:
    alice, thread, bob = Watcher(store), Watcher(store, thread_id="t2"), Watcher(store, "bob")
    for watcher in [alice, thread, bob]:
        assert await watcher.look() == []
    await tell(admin, "a1")
    await tell(admin, "a2", thread_id="t2")
    await tell(admin, "b1", owner="bob", thread_id="t2")
    assert await alice.look() == ["a1", "a2"]
    assert await thread.look() == ["a2"]
    assert await bob.look() == ["b1"]


async def test_many_are_answered_in_the_order_asked(store: Store, admin: Any) -> None:
    wanted = [{"owner_id": owner} for owner in ["bob", "alice", "carol"]]
    first = (await store.post("/watch", {"changes": wanted}))["changes"]
    await tell(admin, "a1")
    await tell(admin, "c1", owner="carol")
    wanted = [
        {"owner_id": "bob", "after": first[0]["position"]},
        {"owner_id": "dave"},
        {"owner_id": "carol", "after": first[2]["position"]},
        {"owner_id": "alice", "after": first[1]["position"]},
    ]
    answers = (await store.post("/watch", {"changes": wanted}))["changes"]
    assert [[told(change) for change in answer["changes"]] for answer in answers] == [[], [], ["c1"], ["a1"]]


async def test_what_begins_first_and_commits_last_is_not_missed(
    store: Store, admin: Any, database_url: str
) -> None:
    """And nobody waits for it: what others commit meanwhile is seen at once."""
    watcher = Watcher(store)
    await watcher.look()
    async with held(
        admin, "INSERT INTO changes (owner_id, thread_id, turn_id) VALUES ('alice', 't', 'slow')"
    ):
        assert await watcher.look() == []
        other = await asyncpg.connect(database_url, server_settings={"search_path": "bobbin"})
        await tell(other, "quick")
        assert await watcher.look() == ["quick"]
        late = Watcher(store)
        assert await late.look() == []
    assert await watcher.look() == ["slow"]
    assert await late.look() == ["slow"]
    await tell(other, "next")
    await other.close()
    assert await watcher.look() == await late.look() == ["next"]


async def test_what_is_taken_back_is_never_seen(store: Store, admin: Any) -> None:
    watcher = Watcher(store)
    await watcher.look()
    transaction = admin.transaction()
    await transaction.start()
    await tell(admin, "never")
    await transaction.rollback()
    await tell(admin, "u1")
    assert await watcher.look() == ["u1"]


async def test_many_writers_at_once_lose_and_double_nothing(
    store: Store, admin: Any, database_url: str
) -> None:
    watcher = Watcher(store)
    await watcher.look()
    done = asyncio.Event()

    async def keep_writing(name: str) -> None:
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "bobbin"})
        for number in range(40):
            async with connection.transaction():
                await tell(connection, f"{name}-{number}a", f"{name}-{number}b")
        await connection.close()

    async def keep_watching() -> list[str]:
        seen: list[str] = []
        while not done.is_set():
            seen += await watcher.look()
        return [*seen, *await watcher.look()]

    watching = asyncio.create_task(keep_watching())
    await asyncio.gather(*(keep_writing(f"w{number}") for number in range(6)))
    done.set()
    seen = await watching
    wanted = [f"w{writer}-{number}{part}" for writer in range(6) for number in range(40) for part in "ab"]
    assert sorted(seen) == sorted(wanted)
    for writer in range(6):  # and each writer's in its order
        assert [one for one in seen if one.startswith(f"w{writer}-")] == wanted[
            writer * 80 : writer * 80 + 80
        ]


async def test_much_at_once_comes_in_parts_and_may_be_continued_from_each_of_them(
    store: Store, admin: Any
) -> None:
    watcher = Watcher(store)
    await watcher.look()
    await admin.execute(
        """
        INSERT INTO changes (owner_id, thread_id, turn_id)
        SELECT 'alice', 't1', 'u' || n FROM generate_series(1, 1200) AS n
        """
    )
    first = await watcher.answer()
    await tell(admin, "meanwhile")
    seen = [told(change) for change in first["changes"]]
    assert len(seen) == changes.MOST
    while part := await watcher.look():
        seen += part
    seen += await watcher.look()
    assert seen == [f"u{number}" for number in range(1, 1201)] + ["meanwhile"]


async def test_a_reader_cut_off_after_any_change_goes_on_behind_it(
    store: Store, admin: Any, database_url: str
) -> None:
    watcher = Watcher(store)
    await watcher.look()
    async with held(
        admin, "INSERT INTO changes (owner_id, thread_id, turn_id) VALUES ('alice', 't1', 'late')"
    ):
        other = await asyncpg.connect(database_url, server_settings={"search_path": "bobbin"})
        async with other.transaction():
            await tell(other, "u1", "u2")
        await tell(other, "u3")
        await other.close()
        found = (await watcher.answer())["changes"]
    assert [told(change) for change in found] == ["u1", "u2", "u3"]
    await tell(admin, "u4")
    for number, change in enumerate(found, 1):
        again = Watcher(store)
        again.position = change["position"]
        seen: list[str] = []
        for _ in range(2):
            seen += await again.look()
        assert seen == [*["u1", "u2", "u3"][number:], "late", "u4"]


async def test_the_turns_that_run_are_the_first_changes(store: Store) -> None:
    for number in range(1, 4):
        await store.post("/turns", begin(f"u{number}", f"t{number}"))
    await store.post("/turns/u3/finish", {"state": "completed"})
    await store.of("bob").post("/turns", begin("u4", "t4"))
    watcher = Watcher(store)
    assert sorted(await watcher.look()) == ["u1", "u2"]
    assert await Watcher(store, thread_id="t2").look() == ["u2"]
    assert await Watcher(store, thread_id="t3").look() == []
    await store.post("/turns", begin("u5", "t5"))
    assert await watcher.look() == ["u5"]


async def test_turns_that_begin_while_someone_begins_to_watch_are_told_once(store: Store) -> None:
    async def begin_turns() -> None:
        for number in range(40):
            await store.post("/turns", begin(f"u{number}", f"t{number}"))

    async def watch() -> list[str]:
        watcher = Watcher(store)
        seen = await watcher.look()
        await begun
        return seen + await watcher.look()

    begun = asyncio.create_task(begin_turns())
    watching: list[asyncio.Task[list[str]]] = []
    while not begun.done():
        watching.append(asyncio.create_task(watch()))
        await asyncio.sleep(0.005)
    assert len(watching) > 5
    for seen in await asyncio.gather(*watching):
        assert sorted(seen) == sorted(f"u{number}" for number in range(40))


async def test_who_was_cut_off_among_the_first_turns_begins_anew(store: Store) -> None:
    for number in range(3):
        await store.post("/turns", begin(f"u{number}", f"t{number}"))
    watcher = Watcher(store)
    first = (await watcher.answer())["changes"]
    for change in first[:-1]:
        watcher.position = change["position"]
        answer = await watcher.answer()
        assert answer["expired"] is True
        assert sorted(map(told, answer["changes"])) == ["u0", "u1", "u2"]
    watcher.position = first[-1]["position"]
    assert await watcher.look() == []


async def test_a_position_older_than_what_is_kept_has_expired(store: Store, admin: Any) -> None:
    """Its reader is told so, and goes on from now, with the turns that run."""
    watcher = Watcher(store)
    await watcher.look()
    await store.post("/turns", begin("u1", "t1"))
    assert watcher.position is not None
    at, _, seen = watcher.position.partition(".")
    watcher.position = f"{int(at) - changes.KEPT_S + 5}.{seen}"
    assert await watcher.look() == ["u1"]
    watcher.position = f"{int(at) - changes.KEPT_S - 5}.{seen}"
    answer = await watcher.answer()
    assert (answer["expired"], list(map(told, answer["changes"]))) == (True, ["u1"])
    assert await watcher.look() == []
    await tell(admin, "u2")
    assert await watcher.look() == ["u2"]


async def test_a_position_of_a_database_that_was_restored_since_has_expired(store: Store) -> None:
    watcher = Watcher(store)
    await watcher.look()
    assert watcher.position is not None
    at, _, _ = watcher.position.partition(".")
    watcher.position = f"{at}.{10**15}"
    assert (await watcher.answer())["expired"] is True


@pytest.mark.parametrize("after", ["", "x", "1.2.3"])
async def test_what_is_no_position_is_named(store: Store, after: str) -> None:
    body = {"changes": [{"owner_id": "alice"}, {"owner_id": "alice", "after": after}]}
    answer = await store.call("POST", "/watch", body)
    assert (answer.status, answer.body["field"]) == (400, "$.changes[1].after")


async def events_of(watcher: Watcher) -> list[Any]:
    """What the changes since the last look tell, as objects."""
    return [json.loads(base64.b64decode(change["event"])) for change in (await watcher.answer())["changes"]]


@pytest.fixture
async def watcher(store: Store) -> Watcher:
    """One who watches the owner of the store, from now on."""
    watcher = Watcher(store)
    await watcher.look()
    return watcher


async def test_a_thread_is_told_of_as_its_clients_see_it(store: Store, watcher: Watcher) -> None:
    made = await store.thread("t1", title="One", metadata={"secret": True}, allowed_image_domains=["x.org"])
    seen = {**made, "metadata": {}, "items": {"data": [], "has_more": False}}
    assert await events_of(watcher) == [{"type": "thread.created", "thread": seen}]
    await store.patch("/threads/t1", {"title": None, "status": {"type": "locked"}})
    del seen["title"]
    assert await events_of(watcher) == [
        {"type": "thread.updated", "thread": {**seen, "status": {"type": "locked"}}}
    ]
    await store.delete("/threads/t1")
    answer = await watcher.answer()
    assert [change["thread_id"] for change in answer["changes"]] == ["t1"]
    assert base64.b64decode(answer["changes"][0]["event"]) == b'{"type":"thread.deleted"}'


async def test_an_item_that_a_service_adds_replaces_or_removes_is_told_of(
    store: Store, watcher: Watcher
) -> None:
    await store.thread("t1")
    await events_of(watcher)
    item = {**assistant_message("i1", "t1"), "unheard_of": [1, None]}
    await store.post("/threads/t1/items", item)
    assert await events_of(watcher) == [{"type": "thread.item.done", "item": item}]
    await store.put("/threads/t1/items/i1", item)
    assert await events_of(watcher) == [{"type": "thread.item.replaced", "item": item}]
    second = assistant_message("i2", "t1")
    await store.put("/threads/t1/items/i2", second)
    assert await events_of(watcher) == [{"type": "thread.item.done", "item": second}]
    await store.delete("/threads/t1/items/i1")
    assert await events_of(watcher) == [{"type": "thread.item.removed", "item_id": "i1"}]


async def test_items_cut_off_are_told_of_in_their_order(store: Store, watcher: Watcher) -> None:
    await store.thread("t1")
    await store.items("t1", "a", "b")
    await store.post("/threads/t1/items", hidden_context("h", "t1"))
    await store.items("t1", "c")
    await events_of(watcher)
    await store.delete("/threads/t1/items", after="a")
    assert [event["item_id"] for event in await events_of(watcher)] == ["b", "c"]
    await store.delete("/threads/t1/items", after="a")
    assert await events_of(watcher) == []


async def test_hidden_items_are_never_told_of(store: Store, watcher: Watcher) -> None:
    await store.thread("t1")
    await events_of(watcher)
    hidden, shown = hidden_context("i1", "t1"), assistant_message("i1", "t1")
    await store.post("/threads/t1/items", hidden)
    await store.put("/threads/t1/items/i1", hidden)
    await store.delete("/threads/t1/items/i1")
    await store.put("/threads/t1/items/i1", hidden)
    assert await events_of(watcher) == []
    for item, event in [
        (shown, {"type": "thread.item.done", "item": shown}),
        (hidden, {"type": "thread.item.removed", "item_id": "i1"}),
    ]:
        await store.put("/threads/t1/items/i1", item)
        assert await events_of(watcher) == [event]


async def test_the_metadata_of_an_attachment_is_not_told(store: Store, watcher: Watcher) -> None:
    await store.thread("t1")
    await events_of(watcher)
    attachment = {"type": "file", "id": "f1", "name": "a.txt", "mime_type": "text/plain"}
    item = {**user_message("m1", "t1"), "attachments": [{**attachment, "metadata": {"path": "/secret"}}]}
    await store.post("/threads/t1/items", item)
    (event,) = await events_of(watcher)
    assert event["item"]["attachments"] == [attachment]


async def test_what_failed_is_not_told_of(store: Store, watcher: Watcher) -> None:
    await store.thread("t1")
    await store.items("t1", "i1")
    await events_of(watcher)
    for method, path, body in [
        ("POST", "/threads", {"id": "t1"}),
        ("PATCH", "/threads/gone", {"title": "x"}),
        ("DELETE", "/threads/gone", None),
        ("POST", "/threads/t1/items", assistant_message("i1", "t1")),
        ("POST", "/threads/gone/items", assistant_message("i1", "gone")),
        ("DELETE", "/threads/t1/items/gone", None),
    ]:
        assert (await store.call(method, path, body)).status in {404, 409}
    assert (await watcher.answer())["changes"] == []


async def test_a_turn_is_told_of_by_its_beginning_and_what_it_says_by_itself(
    store: Store, watcher: Watcher
) -> None:
    await store.post("/turns", begin("u1", "t1"))
    await store.post("/turns/u1/finish", {"state": "completed", "items": [assistant_message("a", "t1")]})
    await store.post("/turns", begin("u2", "t1", "add_user_message"))
    assert await watcher.look() == ["u1", "u2"]
    await store.post("/turns", retry("u3", "t1", "m-u1"))
    *events, begun = (await watcher.answer())["changes"]
    assert begun["turn_id"] == "u3"
    told_of = [json.loads(base64.b64decode(change["event"]))["item_id"] for change in events]
    assert sorted(told_of) == ["a", "m-u2"]
