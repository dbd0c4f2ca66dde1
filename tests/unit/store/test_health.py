"""Whether the store can serve: seen over a connection of its own, by one look for all who ask."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import structlog

from bobbin_store import health
from bobbin_store.errors import Unavailable
from bobbin_store.health import Health, watching
from bobbin_store.migrate import all_migrations
from tests.unit.store.conftest import Store, running_app

RAN = "INSERT INTO bobbin.migrations (number, name) VALUES ($1, 'a'), ($1 + 1, 'b')"
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def becomes(state: health.Health, problem: str) -> None:
    """Wait until the text occurs in what is wrong ("": nothing is)."""
    async with asyncio.timeout(health.LOOK_EVERY_S + health.PATIENCE_S + 2):
        while (problem not in (state.problem or "")) or (not problem and state.problem):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_schema_that_lacks_migrations_is_not_ready_and_one_of_a_newer_store_is(
    database_url: str,
) -> None:
    admin = await asyncpg.connect(database_url)
    async with watching(database_url) as state:
        await state.check()
        last = len(all_migrations())
        await admin.execute("DELETE FROM bobbin.migrations WHERE number = $1", last)
        await becomes(state, f"number {last - 1}, this store needs {last}")
        with pytest.raises(Unavailable):
            await state.check()
        await admin.execute(
            "INSERT INTO bobbin.migrations (number, name) VALUES ($1, 'a'), ($1 + 1, 'b')", last
        )
        await becomes(state, "")
        await state.check()
    await admin.close()


async def test_an_empty_database_is_not_ready(empty_database_url: str) -> None:
    async with watching(empty_database_url) as state:
        with pytest.raises(Unavailable) as raised:
            await state.check()
        assert "migrations" in (state.problem or "")
        assert "migrations" not in str(raised.value), "anyone may ask"


async def test_that_it_cannot_serve_is_logged_once_and_so_is_that_it_can_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY_S", 0.001)
    looks = iter([None, "gone", "gone", "gone", None, None])
    state, done = Health("postgresql://nobody"), asyncio.Event()

    async def look() -> str | None:
        if (problem := next(looks, "")) == "":
            done.set()
            await asyncio.sleep(60)
        return problem

    monkeypatch.setattr(state, "_look", look)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(state.run())
        await asyncio.wait_for(done.wait(), 5)
        running.cancel()
        await asyncio.wait([running])
    assert [entry["event"] for entry in logs] == ["not ready", "ready again"]


async def test_a_database_that_is_silent_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout has no text of its own."""

    async def hang(_dsn: str, _timeout_s: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(health, "connect", hang)
    assert await Health("postgresql://nobody")._look() == "The database does not answer: TimeoutError"


async def test_a_lost_connection_is_replaced(database_url: str) -> None:
    admin = await asyncpg.connect(database_url)
    async with watching(database_url) as state:
        await state.check()
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await becomes(state, "does not answer")
        await becomes(state, "")
    await admin.close()


async def test_a_pool_at_its_limit_is_ready_and_many_probes_take_nothing_from_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 60)  # the probes keep its look waiting
    settings = {"store_pool_size": 1, "store_pool_wait_s": 2, "store_statement_timeout_s": 60}
    async with running_app(database_url, **settings) as http:
        store = Store(http, "alice", "json")
        await store.post("/threads", {"id": "t1"})
        admin = await asyncpg.connect(database_url)
        async with admin.transaction():
            await admin.execute("SELECT FROM bobbin.threads FOR UPDATE")
            change = asyncio.create_task(store.call("PATCH", "/threads/t1", {"title": "new"}))
            while not await admin.fetchval(WAITS):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.01)
            assert (await store.call("GET", "/threads")).status == 503  # there is no connection to be had
            probes = await asyncio.gather(*(http.get("/health/ready") for _ in range(200)))
            assert {probe.status_code for probe in probes} == {200}
            of_ours = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_type = 'client backend'"
            )
            assert await admin.fetchval(of_ours) == 3  # the pool's, the one for health, this one
        assert (await change).status == 200
        await admin.close()
