"""Expiry: old journals and changes go, nothing that is young or needed does, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from bobbin_store import expiry
from bobbin_store.database import Database, open_database
from bobbin_store.errors import Unavailable
from bobbin_store.settings import Settings
from tests.unit.store.conftest import TOKEN
from tests.unit.store.leases import admin, blocked, held

__all__ = ["admin"]

PERIOD = timedelta(minutes=10)
NOW = datetime(2030, 1, 1, 12, 5, tzinfo=UTC)
"""In the middle of a period."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, Settings(store_token=TOKEN)) as database:
        yield database


async def write(admin: Any, moment: datetime, turn_id: str) -> None:
    """A chunk and a change as they were written at that moment."""
    await admin.execute(
        """
        INSERT INTO journal (slot, owner_id, turn_id, first, last, data)
        VALUES (journal_slot($1), 'alice', $2, 1, 2, '1;2;')
        """,
        moment,
        turn_id,
    )
    await admin.execute(
        """
        INSERT INTO changes (slot, owner_id, thread_id, turn_id)
        VALUES (journal_slot($1), 'alice', 't', $2)
        """,
        moment,
        turn_id,
    )


async def left(admin: Any) -> list[str]:
    """The turns whose chunks and changes are still there."""
    chunks = [row["turn_id"] for row in await admin.fetch("SELECT turn_id FROM journal ORDER BY turn_id")]
    changes = [row["turn_id"] for row in await admin.fetch("SELECT turn_id FROM changes ORDER BY turn_id")]
    assert chunks == changes
    return chunks


async def test_what_is_written_is_kept_for_ten_minutes_and_gone_within_half_an_hour(
    database: Database, admin: Any
) -> None:
    """Whenever it was written: looked at every minute for an hour."""
    for offset in [timedelta(0), timedelta(minutes=2, seconds=1), timedelta(minutes=9, seconds=59)]:
        written = NOW.replace(minute=0) + offset
        await write(admin, written, "u1")
        gone_after = None
        for minute in range(60):
            moment = NOW.replace(minute=0) + timedelta(minutes=minute, seconds=30)
            if moment < written:
                continue
            await expiry.expire(database, moment)
            if gone_after is None and not await left(admin):
                gone_after = moment - written
        assert gone_after is not None
        assert PERIOD < gone_after < 3 * PERIOD


async def test_only_the_slot_that_comes_next_is_emptied(database: Database, admin: Any) -> None:
    await write(admin, NOW - 2 * PERIOD, "old")
    await write(admin, NOW - PERIOD, "young")
    await write(admin, NOW, "new")
    assert await expiry.expire(database, NOW) == await admin.fetchval("SELECT journal_slot($1)", NOW + PERIOD)
    assert await left(admin) == ["new", "young"]
    assert await expiry.expire(database, NOW) is None


@pytest.mark.parametrize("seconds", [-299, -241, 241, 299])
async def test_near_the_change_of_slots_nothing_is_emptied(
    database: Database, admin: Any, seconds: int
) -> None:
    """A store that is late by a moment would empty the slot that is in use."""
    await write(admin, NOW - 2 * PERIOD, "old")
    assert await expiry.expire(database, NOW + timedelta(seconds=seconds)) is None
    assert await left(admin) == ["old"]


async def run_turn(admin: Any, turn_id: str, *, ended: bool, leased: bool) -> None:
    """A turn in a thread of its own that began long ago."""
    await admin.execute(
        "INSERT INTO threads (owner_id, id, status, metadata) VALUES ('alice', $1, '{}', '{}')", turn_id
    )
    await admin.execute(
        """
        INSERT INTO turns (owner_id, id, thread_id, message_id, state, started_at, ended_at, gateway_id)
        VALUES ('alice', $1, $1, 'm', CASE WHEN $3 THEN 'completed' ELSE 'running' END, $2,
            CASE WHEN $3 THEN $2::timestamptz END, CASE WHEN $4 THEN 'gw_a' END)
        """,
        turn_id,
        NOW - 3 * PERIOD,
        ended,
        leased,
    )


async def test_the_journal_of_a_turn_that_still_runs_is_carried_over(database: Database, admin: Any) -> None:
    await run_turn(admin, "running", ended=False, leased=True)
    await run_turn(admin, "over", ended=True, leased=False)
    for turn_id in ["running", "over"]:
        await write(admin, NOW - 2 * PERIOD, turn_id)
    await admin.execute(
        """
        INSERT INTO journal (slot, owner_id, turn_id, first, last, data)
        VALUES (journal_slot($1), 'alice', 'running', 3, 3, '3;')
        """,
        NOW,
    )
    assert await expiry.expire(database, NOW) is not None
    rows = await admin.fetch("SELECT turn_id, slot, data FROM journal ORDER BY first")
    slot = await admin.fetchval("SELECT journal_slot($1)", NOW)
    assert [tuple(row) for row in rows] == [("running", slot, b"1;2;"), ("running", slot, b"3;")]
    # And so again, for as long as it runs.
    for periods in range(1, 7):
        await expiry.expire(database, NOW + periods * PERIOD)
    assert await admin.fetchval("SELECT string_agg(data, '' ORDER BY first) FROM journal") == b"1;2;3;"
    await admin.execute("UPDATE turns SET state = 'completed', ended_at = now(), gateway_id = NULL")
    for periods in range(7, 10):
        await expiry.expire(database, NOW + periods * PERIOD)
    assert await admin.fetchval("SELECT count(*) FROM journal") == 0


async def test_one_store_at_a_time_does_it(database: Database, admin: Any) -> None:
    await write(admin, NOW - 2 * PERIOD, "old")
    async with held(admin, f"SELECT pg_advisory_xact_lock({expiry.LOCK_KEY})"):
        assert await expiry.expire(database, NOW) is None
    both = await asyncio.gather(expiry.expire(database, NOW), expiry.expire(database, NOW))
    assert sorted(slot is None for slot in both) == [False, True]


async def test_a_slow_reader_of_the_old_slot_holds_up_neither_expiry_nor_others_for_long(
    database: Database, admin: Any, database_url: str
) -> None:
    await write(admin, NOW - 2 * PERIOD, "old")
    other = await asyncpg.connect(database_url, server_settings={"search_path": "bobbin"})
    async with held(admin, "SELECT FROM journal"):
        expiring = asyncio.create_task(expiry.expire(database, NOW))
        async with asyncio.timeout(5):
            while not expiring.done():
                assert await other.fetchval("SELECT count(*) FROM journal") == 1
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await expiring
    await other.close()
    assert await left(admin) == ["old"]
    assert await expiry.expire(database, NOW) is not None


async def test_gateways_that_died_more_than_an_hour_ago_are_forgotten(database: Database, admin: Any) -> None:
    await admin.execute(
        """
        INSERT INTO gateways (id, lease_until, dead) VALUES
            ('long dead', $1::timestamptz - interval '61 minutes', true),
            ('dead', $1::timestamptz - interval '59 minutes', true),
            ('lapsed', $1::timestamptz - interval '1 day', false),
            ('alive', $1::timestamptz + interval '1 minute', false)
        """,
        NOW,
    )
    await expiry.expire(database, NOW)
    rows = await admin.fetch("SELECT id FROM gateways ORDER BY id")
    assert [row["id"] for row in rows] == ["alive", "dead", "lapsed"]


async def test_a_store_expires_in_the_background_through_outages_until_it_stops(
    database: Database, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    enough = asyncio.Event()

    async def look(_: Database) -> None:
        looks.append("")
        if len(looks) == 1:
            raise Unavailable("away")
        if len(looks) == 2:
            raise ZeroDivisionError
        enough.set()

    monkeypatch.setattr(expiry, "expire", look)
    async with asyncio.timeout(5), expiry.expiring(database, look_every_s=0.001):
        await enough.wait()
    count = len(looks)
    await asyncio.sleep(0.02)
    assert len(looks) == count >= 3


async def test_a_stop_does_not_wait_for_an_expiry_that_waits(
    database: Database, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up, as if it had not begun."""
    monkeypatch.setattr(expiry, "LOCK_TIMEOUT_MS", 60_000)
    # Near the ends of a period nothing would be due, and nothing wait.
    monkeypatch.setattr(expiry, "expire", partial(expiry.expire, moment=NOW))
    await write(admin, NOW - 2 * PERIOD, "old")
    async with (
        held(admin, "LOCK TABLE gateways IN ACCESS EXCLUSIVE MODE"),
        asyncio.timeout(5),
        expiry.expiring(database, look_every_s=0.001),
    ):
        await blocked(admin)
    assert await left(admin) == ["old"]
