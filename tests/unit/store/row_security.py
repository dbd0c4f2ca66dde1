"""What tests of the database share: rows of two owners, and a connection that row-level security binds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from bobbin_store import database
from bobbin_store.database import PLANNING
from tests.postgres import Postgres
from tests.unit.store.conftest import Store, running_app


@asynccontextmanager
async def plain_connection(dsn: str, owner: str | None = None) -> AsyncIterator[Any]:
    """A connection like those of the pool: the same settings, and a role that row-level security binds."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bobbin", **PLANNING})
    try:
        await connection.execute("SET ROLE bobbin_app")
        if owner is not None:
            await connection.execute(database.OWNER, owner)
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def two_owners(postgres: Postgres) -> AsyncIterator[str]:
    """A database in which alice and bob have something in every table."""
    async with postgres.migrated() as dsn:
        async with running_app(dsn) as http:
            for owner in ["alice", "bob"]:
                store = Store(http, owner, "json")
                await store.post("/turns", _begin_body("u1", "t1"))
                await store.post("/threads/t1/feedback", {"item_ids": ["m1"], "kind": "positive"})
                attachment = {"type": "file", "id": "f", "name": "n", "mime_type": "x/y"}
                await store.post("/attachments", attachment)
                await store.post("/attachments", attachment | {"id": "g"})
                await store.delete("/attachments/g")
                chunk = {"first": 1, "last": 1, "data": "ZGF0YTogMQoK"}
                await store.post("/turns/u1/finish", {"state": "completed", "journal": [chunk]})
        yield dsn


def _begin_body(turn_id: str, thread_id: str) -> dict[str, Any]:
    message = {
        "type": "user_message",
        "id": "m1",
        "thread_id": thread_id,
        "created_at": "2026-01-01T00:00:00Z",
        "content": [],
        "inference_options": {},
    }
    return {
        "turn_id": turn_id,
        "thread_id": thread_id,
        "input": {"type": "create_thread", "message": message},
    }
