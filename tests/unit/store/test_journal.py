"""The journal: one statement for all turns of a gateway, and only for turns that are still its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bobbin_protocol.store.journal import JournalChunk, JournalEntry, WriteJournal
from bobbin_store import journal
from bobbin_store.database import EVERY_OWNER, open_database
from bobbin_store.settings import Settings
from tests.unit.store.conftest import TOKEN, Store, begin
from tests.unit.store.leases import (
    admin,
    alive,
    blocked,
    cancel,
    chunk,
    claim,
    entry,
    finish,
    held,
    journal_of,
    lapse,
    settled,
    text_of,
    turn,
    write,
)

__all__ = ["admin"]


async def test_what_is_written_is_what_another_gateway_reads(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    frames = [b'data: {"n": 1}\n\n', b"data: \xff\x00\n\n"]
    for number, data in enumerate(frames, 1):
        body = {**entry("u1", number), "chunk": chunk(number, data=data), "checkpoint": b"at %d" % number}
        assert await write(store, "gw_a", body) == {"written": ["u1"], "stop": []}
    await lapse(admin, "gw_a")
    (claimed,) = await claim(store, "gw_b")
    assert [(part["first"], part["last"]) for part in claimed["journal"]] == [(1, 1), (2, 2)]
    assert await admin.fetchval("SELECT string_agg(data, '' ORDER BY first) FROM journal") == b"".join(frames)
    assert await admin.fetchval("SELECT checkpoint FROM turns") == b"at 2"


async def test_turns_of_many_owners_are_written_at_once(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    for owner in ["alice", "bob"]:
        await turn(store.of(owner), f"u-{owner}", "gw_a")
    entries = [entry("u-alice", 1, 3), entry("u-bob", 1, 2, owner="bob"), entry("u-alice", 4)]
    assert await write(store, "gw_a", *entries) == {"written": ["u-alice", "u-bob"], "stop": []}
    assert await journal_of(admin, "u-alice") == "1;2;3;4;"
    assert await journal_of(admin, "u-bob") == "1;2;"


async def test_a_repeat_changes_nothing_and_is_answered_alike(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    first, second = entry("u1", 1, checkpoint=b"one"), entry("u1", 2, checkpoint=b"two")
    answers = [await write(store, "gw_a", body) for body in [first, first, second, first]]
    assert answers == [{"written": ["u1"], "stop": []}] * 4
    assert await journal_of(admin, "u1") == "1;2;"
    assert await admin.fetchval("SELECT checkpoint FROM turns") == b"two"


async def test_a_chunk_repeated_in_another_slot_is_read_once(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await write(store, "gw_a", entry("u1", 1, 2), entry("u1", 3))
    await admin.execute(
        "INSERT INTO journal SELECT (slot + 1) % 3, owner_id, turn_id, first, last, data FROM journal"
    )
    await lapse(admin, "gw_a")
    (claimed,) = await claim(store, "gw_b")
    assert text_of(claimed["journal"]) == "1;2;3;"


async def test_a_checkpoint_stays_until_the_next_and_the_last_of_several_counts(
    store: Store, admin: Any
) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await write(
        store,
        "gw_a",
        entry("u1", 1, checkpoint=b"one"),
        entry("u1", 2, checkpoint=b"two"),
        entry("u1", 3),
    )
    assert await admin.fetchval("SELECT checkpoint FROM turns") == b"two"
    await write(store, "gw_a", entry("u1", 4))
    assert await admin.fetchval("SELECT checkpoint FROM turns") == b"two"


async def test_a_checkpoint_may_come_without_events_but_not_after_later_ones(
    store: Store, admin: Any
) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    silent = {"chunk": {"first": 1, "last": 0, "data": b""}}
    for checkpoint in (b"thinking", b"still thinking"):
        body = {**entry("u1", 1), **silent, "checkpoint": checkpoint}
        assert await write(store, "gw_a", body) == {"written": ["u1"], "stop": []}
        assert await admin.fetchval("SELECT checkpoint FROM turns") == checkpoint
    await write(store, "gw_a", {**entry("u1", 1), "checkpoint": b"spoken"})
    await write(store, "gw_a", {**entry("u1", 1), **silent, "checkpoint": b"thinking, delayed on the way"})
    assert await admin.fetchval("SELECT checkpoint FROM turns") == b"spoken"
    assert await journal_of(admin, "u1") == "1;"


async def test_turns_that_ended_or_are_of_others_are_let_go_of(store: Store, admin: Any) -> None:
    await alive(store, "gw_a", "gw_b")
    await turn(store, "own", "gw_a")
    await turn(store, "theirs", "gw_b")
    await turn(store, "over", "gw_a")
    await finish(store, "over", "gw_a")
    await store.post("/turns", begin("nobodys", "t1"))
    await turn(store, "deleted", "gw_a")
    await store.delete("/threads/t-deleted")
    entries = [
        entry(turn_id, 1) for turn_id in ["own", "theirs", "over", "nobodys", "deleted", "never-there"]
    ]
    foreign = entry("own", 1, owner="bob")
    assert await write(store, "gw_a", *entries, foreign) == {"written": ["own"], "stop": []}
    assert await admin.fetchval("SELECT count(*) FROM journal") == 1


async def test_a_turn_to_stop_is_named_and_still_written(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    for turn_id in ["over", "off"]:
        await turn(store, turn_id, "gw_a")
    await store.post("/turns", begin("newer", "t-over", "add_user_message"))
    await cancel(store, "off")
    answer = await write(store, "gw_a", entry("over", 1), entry("over", 2), entry("off", 1))
    assert answer == {"written": ["over", "off"], "stop": ["over", "off"]}
    assert await journal_of(admin, "over") == "1;2;"


@pytest.mark.parametrize("gateway_id", ["gw_dead", "gw_unknown"])
async def test_a_dead_or_unknown_gateway_writes_nothing(store: Store, admin: Any, gateway_id: str) -> None:
    await settled(store, admin, "gw_dead", "gw_b")
    await lapse(admin, "gw_dead")
    await claim(store, "gw_b")
    await turn(store, "u1", gateway_id)
    assert await write(store, gateway_id, entry("u1", 1)) == {"written": [], "stop": []}
    assert await journal_of(admin, "u1") == ""


async def test_a_lapsed_gateway_writes_until_it_is_declared_dead(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    assert (await write(store, "gw_a", entry("u1", 1)))["written"] == ["u1"]


async def test_a_write_that_comes_during_a_declaration_of_death_is_refused(store: Store, admin: Any) -> None:
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    async with held(admin, "UPDATE gateways SET dead = true WHERE id = 'gw_a'"):
        late = asyncio.create_task(write(store, "gw_a", entry("u1", 1)))
        await blocked(admin)
    assert await late == {"written": [], "stop": []}
    assert await journal_of(admin, "u1") == ""


async def test_a_write_that_comes_during_a_release_is_refused_though_its_gateway_lives(
    store: Store, admin: Any
) -> None:
    """It has waited for the release, and the turn that it saw before is not its gateway's any more."""
    await alive(store, "gw_a")
    await turn(store, "u1", "gw_a")
    await turn(store, "u2", "gw_a")
    async with held(admin, "UPDATE gateways SET lease_until = now() + interval '1 hour' WHERE id = 'gw_a'"):
        late = asyncio.create_task(write(store, "gw_a", entry("u1", 1), entry("u2", 1)))
        await blocked(admin)
        await admin.execute("UPDATE turns SET gateway_id = ' released' WHERE id = 'u1'")
    assert await late == {"written": ["u2"], "stop": []}
    assert await journal_of(admin, "u1") == ""
    assert await journal_of(admin, "u2") == "1;"


async def test_while_a_write_is_under_way_its_gateway_is_not_declared_dead(store: Store, admin: Any) -> None:
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    # A lock on the turn's journal rows would stop the write itself: so we hold what the write holds.
    async with held(admin, "SELECT FROM gateways WHERE id = 'gw_a' FOR SHARE"):
        assert await claim(store, "gw_b") == []
        assert (await write(store, "gw_a", entry("u1", 1)))["written"] == ["u1"]
    (claimed,) = await claim(store, "gw_b")
    assert text_of(claimed["journal"]) == "1;"


async def test_a_write_holds_up_the_declaration_for_as_long_as_it_takes(store: Store, admin: Any) -> None:
    """The write itself, stopped half way: it waits for a row that another transaction has just made."""
    await settled(store, admin, "gw_a", "gw_b")
    await turn(store, "u1", "gw_a")
    await lapse(admin, "gw_a")
    async with held(
        admin,
        "INSERT INTO journal (owner_id, turn_id, first, last, data) VALUES ('alice', 'u1', 1, 1, '1;')",
    ):
        slow = asyncio.create_task(write(store, "gw_a", entry("u1", 1), entry("u1", 2)))
        await blocked(admin)
        assert await claim(store, "gw_b") == []
    assert (await slow)["written"] == ["u1"]
    (claimed,) = await claim(store, "gw_b")
    assert text_of(claimed["journal"]) == "1;2;"


async def test_writes_and_claims_at_once_leave_no_gap_and_no_doubt(store: Store, admin: Any) -> None:
    """Whatever was acknowledged is in the journal that the claimer got; what comes later is refused."""
    await settled(store, admin, "gw_b")
    for number in range(10):
        gateway_id, turn_id = f"gw_{number}", f"u{number}"
        await alive(store, gateway_id)
        await turn(store, turn_id, gateway_id)
        acknowledged = 0

        async def keep_writing(gateway_id: str = gateway_id, turn_id: str = turn_id) -> int:
            count = 0
            while (await write(store, gateway_id, entry(turn_id, count + 1)))["written"]:
                count += 1
            return count

        writer = asyncio.create_task(keep_writing())
        await asyncio.sleep(0.02)
        await lapse(admin, gateway_id)
        claimed: list[Any] = []
        while not claimed:
            claimed = await claim(store, "gw_b")
        acknowledged = await writer
        assert text_of(claimed[0]["journal"]) == "".join(f"{n + 1};" for n in range(acknowledged))
        assert await journal_of(admin, turn_id) == text_of(claimed[0]["journal"])


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"chunk": {"first": 2, "last": 1, "data": b"x"}}, "$.entries[1].chunk.last"),
        ({"chunk": {"first": 2, "last": 0, "data": b""}}, "$.entries[1].chunk.last"),
        ({"chunk": {"first": 2, "last": 2, "data": b""}}, "$.entries[1].chunk.last"),
        ({"chunk": {"first": 0, "last": 1, "data": b""}}, "$.entries[1].chunk.first"),
        ({"turn_id": ""}, "$.entries[1].turn_id"),
    ],
)
async def test_a_chunk_that_cannot_be_is_named(store: Store, bad: dict[str, Any], field: str) -> None:
    body = {"entries": [entry("u1", 1), entry("u1", 2) | bad]}
    answer = await store.call("POST", "/gateways/gw_a/journal", body)
    assert answer.status == 400
    assert answer.body["field"].replace("[...]", "[1]") == field


def written(turns: int, *, first: int = 1) -> WriteJournal:
    data = b'data: {"type":"thread.item.updated"}\n\n' * 5
    return WriteJournal(
        entries=[
            JournalEntry(
                owner_id=f"o{number % 50}",
                turn_id=f"u{number}",
                chunk=JournalChunk(first=first, last=first + 4, data=data),
            )
            for number in range(turns)
        ]
    )


async def fill(admin: Any, turns: int) -> None:
    """Turns of 50 owners under the lease of one gateway."""
    await admin.execute(
        """
        INSERT INTO gateways (id, lease_until) VALUES ('gw_a', now() + interval '1 hour')
        """
    )
    await admin.execute(
        """
        WITH made AS (
            INSERT INTO threads (owner_id, id, status, metadata)
            SELECT 'o' || n % 50, 't' || n, '{}', '{}' FROM generate_series(0, $1 - 1) AS n
        )
        INSERT INTO turns (owner_id, id, thread_id, message_id, state, gateway_id)
        SELECT 'o' || n % 50, 'u' || n, 't' || n, 'm', 'running', 'gw_a' FROM generate_series(0, $1 - 1) AS n
        """,
        turns,
    )


async def test_the_number_of_statements_does_not_depend_on_the_number_of_turns(
    database_url: str, admin: Any, record_property: Any
) -> None:
    await fill(admin, 500)
    statements: list[str] = []
    settings = Settings(store_token=TOKEN, store_pool_size=1)
    async with open_database(database_url, settings) as database:
        async with database.session(EVERY_OWNER) as session:
            session.add_query_logger(lambda query: statements.append(query.query))  # type: ignore[attr-defined] (asyncpg's)
        await journal.write(database, "gw_a", written(0))  # the first one of a connection asks for types, too
        for turns in [1, 500]:
            statements.clear()
            answer = await journal.write(database, "gw_a", written(turns))
            assert len(answer.written) == turns
            assert statements == [journal.WRITE]
        took: list[float] = []
        for number in range(1, 21):
            began = time.perf_counter()
            await journal.write(database, "gw_a", written(500, first=1 + 5 * number))
            took.append(time.perf_counter() - began)
    record_property("median_ms_of_a_flush_of_500_turns", round(sorted(took)[10] * 1000, 1))
