"""Backup and restore, by the scripts of `make backup` and `make restore`: nothing but feeds begins anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest

from bobbin_store.embedded.installation import binaries
from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.embedded.user import ServerUser
from tests.client import message
from tests.cluster import Reading, begin
from tests.conftest import ROOT
from tests.model import model_service
from tests.postgres import NOT_DURABLE
from tests.processes import Service, running
from tests.stack import STORE_TOKEN, gateway_service, store_service

USER = "local"
"""Whose turn runs."""


def libpq(dsn: str) -> dict[str, str]:
    """The same address in the variables that PostgreSQL's own programs read."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    found = {
        "PGHOST": query.get("host", [parts.hostname or ""])[0],
        "PGPORT": str(parts.port or ""),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }
    path = f"{binaries(ServerUser())}{os.pathsep}{os.environ['PATH']}"
    return {name: value for name, value in found.items() if value} | {"PATH": path}


def run(script: str, dsn: str, given: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """One of the scripts, as it runs in the database's container."""
    return subprocess.run(
        ["sh", "-c", (ROOT / "deploy/database" / script).read_text()],
        env=libpq(dsn) | environ,
        input=given,
        capture_output=True,
        timeout=50,
        check=False,
    )


def done(result: subprocess.CompletedProcess[bytes]) -> bytes:
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


@asynccontextmanager
async def caller(store: Service, owner: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {STORE_TOKEN}", "Bobbin-Owner": owner}
    async with httpx.AsyncClient(base_url=f"{store.url}/v1", headers=headers, timeout=20) as http:
        yield http


async def exported(store: Service, owner: str) -> list[str]:
    async with caller(store, owner) as http:
        return (await http.get("/owner/export")).raise_for_status().text.splitlines()


async def fill(store: Service, owner: str) -> None:
    """Something of every kind: threads, items, feedback, an ended turn, attachments sent and unsent."""
    async with caller(store, owner) as http:

        async def post(path: str, body: Any) -> None:
            (await http.post(path, json=body)).raise_for_status()

        attachment = {"type": "file", "name": "n", "mime_type": "x/y"}
        await post("/attachments", attachment | {"id": "sent"})
        await post("/attachments", attachment | {"id": "unsent"})
        said = {
            "type": "user_message",
            "id": "m1",
            "thread_id": "t1",
            "created_at": "2026-01-02T03:04:05Z",
            "content": [{"type": "input_text", "text": "Grüße \u0000 🧵"}],
            "inference_options": {},
        }
        start = {"type": "create_thread", "message": said, "attachment_ids": ["sent"]}
        await post("/turns", {"turn_id": "u1", "thread_id": "t1", "input": start})
        answer = {
            "type": "assistant_message",
            "id": "a1",
            "thread_id": "t1",
            "created_at": "2026-01-02T03:04:06Z",
            "content": [{"type": "output_text", "annotations": [], "text": "Good day"}],
        }
        await post("/turns/u1/finish", {"state": "completed", "items": [answer]})
        await post("/threads/t1/feedback", {"item_ids": ["a1"], "kind": "positive"})
        await post("/threads", {"id": "t2", "title": "empty"})


@pytest.fixture
def other_server(folder: Path) -> Iterator[str]:
    """An empty PostgreSQL that has never heard of us."""
    server = EmbeddedServer(folder, NOT_DURABLE)
    server.start()
    yield server.dsn
    server.stop()


async def burn_transactions(dsn: str, count: int) -> None:
    """Make this server count further than a fresh one does."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        f"DO $$ BEGIN FOR i IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    )
    await connection.close()


async def state_of(store: Service, turn_id: str) -> Any:
    async with caller(store, USER) as http:
        return (await http.get(f"/turns/{turn_id}")).raise_for_status().json()


async def ended(store: Service, turn_id: str) -> Any:
    async with asyncio.timeout(30):
        while (turn := await state_of(store, turn_id))["state"] == "running":  # noqa: ASYNC110 (over HTTP)
            await asyncio.sleep(0.05)
    return turn


@pytest.mark.timeout(180)
async def test_all_is_there_on_another_server_and_a_turn_of_the_moment_ends_interrupted(
    database_url: str, other_server: str, folder: Path
) -> None:
    await burn_transactions(database_url, 3000)
    reading = Reading()
    with ExitStack() as stack:
        model = stack.enter_context(running(model_service()))
        with ExitStack() as before:
            store = before.enter_context(running(store_service(folder, DATABASE_URL=database_url)))
            gateway = before.enter_context(running(gateway_service(store, model, LEASE_S="2")))
            await fill(store, "alice")
            slow = {"type": "threads.create", "params": {"input": message("Go", model=SLOW)}}
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                await begin(http, slow, reading, events=15)
            dump = done(run("dump.sh", database_url))
            kept = await exported(store, "alice")
            async with caller(store, "alice") as http:
                (await http.delete("/threads/t1")).raise_for_status()

        done(run("load.sh", other_server, dump))
        store = stack.enter_context(running(store_service(folder, DATABASE_URL=other_server)))
        assert await exported(store, "alice") == kept
        assert (await state_of(store, reading.turn_id))["state"] == "running"
        assert await feed(store, USER) == [reading.turn_id]
        gateway = stack.enter_context(running(gateway_service(store, model, LEASE_S="2")))
        turn = await ended(store, reading.turn_id)
        assert turn["state"] == "interrupted"
        said = "".join(
            event["update"]["delta"]
            for event in reading.events
            if event["type"] == "thread.item.updated" and "delta" in event["update"]
        )
        assert said
        async with caller(store, USER) as http:
            page = (await http.get(f"/threads/{turn['thread_id']}/items")).json()["data"]
        texts = [
            part["text"] for item in page if item["type"] == "assistant_message" for part in item["content"]
        ]
        assert len(texts) == 1
        assert texts[0].startswith(said)


SLOW = "script:deltas=400&delay_ms=50"


async def feed(store: Service, owner: str) -> list[str]:
    """What one who begins to watch is told in two looks: what runs, and nothing of what was."""
    told: list[str] = []
    wanted: dict[str, Any] = {"owner_id": owner}
    async with caller(store, owner) as http:
        for _ in range(2):
            body = {"changes": [wanted]}
            (answer,) = (await http.post("/watch", json=body)).raise_for_status().json()["changes"]
            told += [change["turn_id"] for change in answer["changes"]]
            wanted["after"] = answer["position"]
    return told


@pytest.mark.timeout(120)
async def test_a_restore_takes_the_place_of_what_is_there(
    database_url: str, empty_database_url: str, folder: Path
) -> None:
    with running(store_service(folder, DATABASE_URL=database_url)) as store:
        await fill(store, "alice")
        kept = await exported(store, "alice")
        dump = done(run("dump.sh", database_url))
    with running(store_service(folder, DATABASE_URL=empty_database_url)) as store:
        await fill(store, "bob")
        there = await exported(store, "bob")
    broken = run("load.sh", empty_database_url, dump[: len(dump) // 2])
    assert broken.returncode == 1
    assert b"Nothing was restored" in broken.stderr
    with running(store_service(folder, DATABASE_URL=empty_database_url)) as store:
        assert await exported(store, "bob") == there
    done(run("load.sh", empty_database_url, dump))
    with running(store_service(folder, DATABASE_URL=empty_database_url)) as store:
        assert await exported(store, "alice") == kept
        assert await exported(store, "bob") == []


async def test_a_role_that_policies_bind_makes_no_backup_rather_than_an_empty_one(
    database_url: str, empty_database_url: str
) -> None:
    """The one that the guide gives does: it reads everything, and policies do not bind it."""
    admin = await asyncpg.connect(database_url)
    role = await admin.fetchval("SELECT 'backup_' || current_database()")
    await admin.execute(f"CREATE ROLE {role}; GRANT pg_read_all_data TO {role}")
    await admin.execute(
        "INSERT INTO bobbin.threads (owner_id, id, status, metadata) VALUES ('a', 't', '{}', '{}')"
    )
    try:
        bound = run("dump.sh", database_url, PGOPTIONS=f"-c role={role}")
        assert bound.returncode == 1
        assert b"row-level security" in bound.stderr
        await admin.execute(f"ALTER ROLE {role} BYPASSRLS")
        done(
            run(
                "load.sh", empty_database_url, done(run("dump.sh", database_url, PGOPTIONS=f"-c role={role}"))
            )
        )
    finally:
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()
    restored = await asyncpg.connect(empty_database_url)
    assert await restored.fetchval("SELECT id FROM bobbin.threads") == "t"
    await restored.close()
