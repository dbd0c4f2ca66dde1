"""The store's processes: whichever is killed at whatever moment, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from bobbin_store.embedded.server import EmbeddedServer
from tests.conftest import ROOT
from tests.postgres import readable_folder
from tests.processes import Service, free_port, running, workers_of
from tests.stack import STORE_TOKEN

pytestmark = pytest.mark.timeout(180)

HEADERS = {"Authorization": f"Bearer {STORE_TOKEN}", "Bobbin-Owner": "alice"}


def store_on(folder: Path, **environ: str) -> Service:
    port = free_port()
    settings = {"STORE_PORT": str(port), "STORE_TOKEN": STORE_TOKEN, "DATA_DIR": str(folder), **environ}
    return Service("bobbin_store", port, **settings)


@asynccontextmanager
async def caller(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, headers=HEADERS, timeout=20) as http:
        yield http


async def thread_ids(http: httpx.AsyncClient) -> set[str]:
    ids: set[str] = set()
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = (await http.get("/v1/threads", params=query)).raise_for_status().json()
        ids |= {thread["id"] for thread in page["data"]}
        if not page["has_more"]:
            return ids
        query["after"] = page["after"]


async def eventually(check: Callable[[], Any], timeout_s: float = 15) -> Any:
    """Wait for something true; connection errors mean not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if result := await check():
                return result
        except (httpx.HTTPError, OSError):
            pass
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)


async def end_of(service: Service) -> int:
    """The exit status of a service that has been told to stop: waited for, not told again."""
    assert service._process is not None
    return await asyncio.to_thread(service._process.wait, 20)


async def some(acknowledged: set[str]) -> None:
    """Wait until there are some."""
    async with asyncio.timeout(20):
        while len(acknowledged) <= 10:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)


def refused_start(**environ: str) -> tuple[int, str]:
    """The exit code and what was said of a start that must fail."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "bobbin_store"],
        env={**inherited, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


async def test_what_was_written_is_there_after_a_restart_of_everything(folder: Path) -> None:
    service = store_on(folder)
    with running(service):
        async with caller(service) as http:
            made = (await http.post("/v1/threads", json={"title": "kept"})).raise_for_status().json()
    server = EmbeddedServer(folder)
    assert not server.is_running()
    with running(service):
        async with caller(service) as http:
            assert (await http.get(f"/v1/threads/{made['id']}")).json()["thread"] == made


async def test_a_stop_lets_requests_finish(folder: Path, database_url: str) -> None:
    service = store_on(folder, DATABASE_URL=database_url)
    service.start()
    async with caller(service) as http:
        made = (await http.post("/v1/threads", json={"id": "t1"})).raise_for_status().json()
        admin = await asyncpg.connect(database_url)
        await admin.execute("BEGIN")
        await admin.execute("SELECT FROM bobbin.threads FOR UPDATE")
        change = asyncio.create_task(http.patch("/v1/threads/t1", json={"title": "in time"}))

        async def waits() -> bool:
            return bool(await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
        os.kill(service.pid, signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert not change.done()
        await admin.execute("COMMIT")
        await admin.close()
        assert (await change).json() == {**made, "title": "in time"}
    assert await end_of(service) == 0


async def test_ctrl_c_stops_everything(folder: Path) -> None:
    service = store_on(folder)
    service.start()
    os.killpg(service.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    assert await end_of(service) in {0, 130}
    assert not EmbeddedServer(folder).is_running()
    assert "Traceback" not in service.log()


async def test_a_store_killed_with_9_starts_again_on_the_same_port_with_all_data(folder: Path) -> None:
    service = store_on(folder, STORE_WORKERS="2")
    service.start()
    acknowledged: set[str] = set()
    async with caller(service) as http:

        async def write() -> None:
            while True:
                try:
                    response = await http.post("/v1/threads", json={})
                except httpx.HTTPError:
                    return
                if response.status_code == 201:
                    acknowledged.add(response.json()["id"])

        writers = [asyncio.create_task(write()) for _ in range(4)]
        await some(acknowledged)
        os.kill(service.pid, signal.SIGKILL)  # the parent alone: its workers must not live on
        await asyncio.gather(*writers)
    assert service.stop() == -signal.SIGKILL
    with running(service):
        async with caller(service) as http:
            assert acknowledged <= await thread_ids(http)
    assert "Traceback" not in service.log()


async def test_a_killed_worker_is_replaced(folder: Path, database_url: str) -> None:
    service = store_on(folder, DATABASE_URL=database_url)
    with running(service):
        (worker,) = workers_of(service)
        worker.kill()

        async def replaced() -> bool:
            async with caller(service) as http:
                ready = (await http.get("/health/ready")).status_code == 200
            return ready and [process.pid for process in workers_of(service)] not in ([], [worker.pid])

        await eventually(replaced)
        assert len(workers_of(service)) == 1


async def test_connections_that_wait_keep_nobody_out(folder: Path, database_url: str) -> None:
    """As those of many gateways do, most of the time."""
    service = store_on(folder, DATABASE_URL=database_url, STORE_WORKERS="3")
    with running(service), ExitStack() as idle:
        for _ in range(1200):
            idle.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        async with caller(service) as http:
            assert (await http.get("/health/ready")).status_code == 200


async def test_a_killed_embedded_database_comes_back_without_loss(folder: Path) -> None:
    """Meanwhile the store says 503 with Retry-After, and whoever tries again is served."""
    service = store_on(folder)
    with running(service):
        statuses: list[int] = []
        acknowledged: set[str] = set()
        async with caller(service) as http:

            async def write(number: int) -> None:
                for count in range(60):
                    body = {"id": f"t{number}-{count}"}
                    while True:
                        response = await http.post("/v1/threads", json=body)
                        statuses.append(response.status_code)
                        if response.status_code != 503:
                            break
                        assert response.headers["retry-after"]
                        await asyncio.sleep(0.05)
                    # A 409 is the answer to a repeat whose first try was committed, but not acknowledged.
                    assert response.status_code in {201, 409}
                    acknowledged.add(body["id"])

            writers = [asyncio.create_task(write(number)) for number in range(4)]
            await some(acknowledged)
            first = next(psutil.Process(int(line)) for line in pid_file(folder)[:1])
            first.kill()
            await asyncio.gather(*writers)
            assert 503 in statuses
            assert await thread_ids(http) == acknowledged
            assert len(acknowledged) == 240
        assert "Traceback" not in service.log()


def pid_file(folder: Path) -> list[str]:
    return (folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()


async def test_readiness_follows_the_database_as_it_restarts(folder: Path) -> None:
    with own_server() as server:
        service = store_on(folder, DATABASE_URL=server.dsn)
        with running(service):
            async with caller(service) as http:

                async def ready_is(status: int) -> bool:
                    return (await http.get("/health/ready")).status_code == status

                for _ in range(2):
                    await http.post("/v1/threads", json={})
                    await asyncio.to_thread(server.stop)
                    assert await eventually(lambda: ready_is(503))
                    response = await http.get("/v1/threads")
                    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
                    assert response.headers["retry-after"]
                    assert (await http.get("/health/live")).status_code == 200
                    await asyncio.to_thread(server.start)
                    assert await eventually(lambda: ready_is(200))
                assert len(await thread_ids(http)) == 2


@contextmanager
def own_server() -> Iterator[EmbeddedServer]:
    """A database server that may be stopped."""
    with readable_folder() as home:
        server = EmbeddedServer(home)
        server.start()
        yield server
        server.stop()


async def test_the_answer_to_a_request_caught_by_the_restart_is_true(folder: Path) -> None:
    """A 503 if the server went down first, a 200 if it ended the other transaction before: as stored."""
    with own_server() as server:
        service = store_on(folder, DATABASE_URL=server.dsn)
        with running(service):
            async with caller(service) as http:
                (await http.post("/v1/threads", json={"id": "t1"})).raise_for_status()
                admin = await asyncpg.connect(server.dsn)
                await admin.execute("BEGIN")
                await admin.execute("SELECT FROM bobbin.threads FOR UPDATE")
                change = asyncio.create_task(http.patch("/v1/threads/t1", json={"title": "lost"}))

                async def waits() -> bool:
                    return bool(await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

                await eventually(waits)
                await asyncio.to_thread(server.stop)
                status = (await change).status_code
                assert status in {200, 503}
                await asyncio.to_thread(server.start)

                async def title() -> Any:
                    response = await http.get("/v1/threads/t1")
                    return response.json()["thread"] if response.status_code == 200 else None

                assert ("title" in await eventually(title)) is (status == 200)
                admin.terminate()


async def test_stores_started_at_once_on_an_empty_database_both_serve_it(
    folder: Path, empty_database_url: str
) -> None:
    services = [store_on(folder, DATABASE_URL=empty_database_url) for _ in range(2)]
    try:
        await asyncio.gather(*(asyncio.to_thread(service.start) for service in services))
        async with caller(services[0]) as one, caller(services[1]) as two:
            made = (await one.post("/v1/threads", json={})).raise_for_status().json()
            assert (await two.get(f"/v1/threads/{made['id']}")).json()["thread"] == made
    finally:
        for service in services:
            service.stop()


async def test_a_store_waits_for_a_database_that_comes_up_later(folder: Path) -> None:
    with own_server() as server:
        await asyncio.to_thread(server.stop)
        service = store_on(folder, DATABASE_URL=server.dsn)
        start = asyncio.create_task(asyncio.to_thread(service.start))
        await asyncio.sleep(0.5)
        assert not start.done()
        await asyncio.to_thread(server.start)
        await start
        assert service.stop() == 0


async def test_two_stores_share_one_embedded_database(folder: Path) -> None:
    first, second = store_on(folder), store_on(folder)
    with running(second):
        with running(first):
            async with caller(first) as http:
                made = (await http.post("/v1/threads", json={})).raise_for_status().json()
        async with caller(second) as http:
            assert (await http.get(f"/v1/threads/{made['id']}")).json()["thread"] == made
    assert not EmbeddedServer(folder).is_running()


def test_broken_settings_are_named_together_in_a_clear_line_each() -> None:
    code, said = refused_start(STORE_PORT="none", STORE_WORKERS="0")
    assert code == 1
    lines = said.splitlines()
    for name, line in zip(["STORE_PORT", "STORE_TOKEN", "STORE_WORKERS"], lines, strict=True):
        assert line.startswith(f"bobbin-store: {name}")


def test_a_database_that_never_answers_is_one_clear_line() -> None:
    code, said = refused_start(
        STORE_TOKEN=STORE_TOKEN,
        STORE_PORT=str(free_port()),
        STORE_DATABASE_WAIT_S="0.3",
        DATABASE_URL=f"postgresql://postgres@127.0.0.1:{free_port()}/x",
    )
    assert code == 1
    *before, last = said.splitlines()
    assert last.startswith("bobbin-store: the database does not answer")
    assert [json.loads(line)["event"] for line in before] == ["settings"]


async def fill_80_mb(http: httpx.AsyncClient, dsn: str) -> None:
    (await http.post("/v1/threads", json={"id": "t1"})).raise_for_status()
    admin = await asyncpg.connect(dsn)
    await admin.execute(
        """
        INSERT INTO bobbin.items (owner_id, thread_id, id, seq, type, hidden, created_at, data)
        SELECT 'alice', 't1', 'i' || n, n, 'end_of_turn', false, now(),
               json_build_object('id', 'i' || n, 'text', repeat('x', 40000))
        FROM generate_series(1, 2000) AS n
        """
    )
    await admin.close()


async def test_an_export_given_up_does_not_keep_its_connection(folder: Path, database_url: str) -> None:
    service = store_on(folder, DATABASE_URL=database_url, STORE_POOL_SIZE="1", STORE_POOL_WAIT_S="5")
    with running(service):
        async with caller(service) as http:
            await fill_80_mb(http, database_url)
            for _ in range(3):
                async with http.stream("GET", "/v1/owner/export") as response:
                    async for _ in response.aiter_raw():
                        break
                assert (await http.get("/v1/threads")).status_code == 200


async def test_an_export_of_much_needs_little_memory(folder: Path, database_url: str) -> None:
    """80 MB of items go out; the worker grows by far less."""
    service = store_on(folder, DATABASE_URL=database_url)
    with running(service):
        async with caller(service) as http:
            await fill_80_mb(http, database_url)
            (worker,) = workers_of(service)
            before = worker.memory_info().rss
            peak, received = before, 0
            async with http.stream("GET", "/v1/owner/export") as response:
                async for piece in response.aiter_bytes(1 << 20):
                    received += len(piece)
                    peak = max(peak, worker.memory_info().rss)
    assert received > 80_000_000
    assert peak - before < 30_000_000
