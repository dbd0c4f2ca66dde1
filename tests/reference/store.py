"""A ChatKit store on PostgreSQL, of the kind that the reference's guide sketches: one JSON row per record."""

from __future__ import annotations

from typing import Any

import asyncpg
from chatkit.store import NotFoundError, Store
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata
from pydantic import TypeAdapter

_ITEM = TypeAdapter[ThreadItem](ThreadItem)
_ATTACHMENT = TypeAdapter[Attachment](Attachment)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reference_threads (
    id text PRIMARY KEY, user_id text NOT NULL, created_at timestamptz NOT NULL, data jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS reference_threads_page ON reference_threads (user_id, created_at, id);
CREATE TABLE IF NOT EXISTS reference_items (
    id text PRIMARY KEY, thread_id text NOT NULL, user_id text NOT NULL, created_at timestamptz NOT NULL,
    data jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS reference_items_page ON reference_items (thread_id, created_at, id);
CREATE TABLE IF NOT EXISTS reference_attachments (
    id text PRIMARY KEY, user_id text NOT NULL, data jsonb NOT NULL
);
"""


class PostgresStore(Store[str]):
    """The context is the user's id."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create_schema(self) -> None:
        await self._pool.execute(_SCHEMA)

    async def load_thread(self, thread_id: str, context: str) -> ThreadMetadata:
        row = await self._pool.fetchrow(
            "SELECT data FROM reference_threads WHERE id = $1 AND user_id = $2", thread_id, context
        )
        if row is None:
            raise NotFoundError(f"Thread {thread_id} not found")
        return ThreadMetadata.model_validate_json(row["data"])

    async def save_thread(self, thread: ThreadMetadata, context: str) -> None:
        await self._pool.execute(
            "INSERT INTO reference_threads VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET data = $4",
            thread.id,
            context,
            thread.created_at,
            thread.model_dump_json(),
        )

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: str
    ) -> Page[ThreadItem]:
        rows = await self._page("reference_items", "thread_id = $1", thread_id, after, limit, order)
        return _page([_ITEM.validate_json(row["data"]) for row in rows], limit)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: str
    ) -> Page[ThreadMetadata]:
        rows = await self._page("reference_threads", "user_id = $1", context, after, limit, order)
        return _page([ThreadMetadata.model_validate_json(row["data"]) for row in rows], limit)

    async def _page(
        self, table: str, where: str, key: str, after: str | None, limit: int, order: str
    ) -> list[Any]:
        direction, compare = ("ASC", ">") if order == "asc" else ("DESC", "<")
        cursor = f"AND (created_at, id) {compare} (SELECT created_at, id FROM {table} WHERE id = $2)"
        query = f"SELECT data FROM {table} WHERE {where} "
        if after is not None:
            query += cursor
        query += f" ORDER BY created_at {direction}, id {direction} LIMIT {limit + 1}"
        return await self._pool.fetch(query, key, *([after] if after is not None else []))

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: str) -> None:
        await self.save_item(thread_id, item, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: str) -> None:
        await self._pool.execute(
            """
            INSERT INTO reference_items VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (id) DO UPDATE SET data = excluded.data
            """,
            item.id,
            thread_id,
            context,
            item.created_at,
            item.model_dump_json(),
        )

    async def load_item(self, thread_id: str, item_id: str, context: str) -> ThreadItem:
        row = await self._pool.fetchrow(
            "SELECT data FROM reference_items WHERE id = $1 AND thread_id = $2 AND user_id = $3",
            item_id,
            thread_id,
            context,
        )
        if row is None:
            raise NotFoundError(f"Item {item_id} not found")
        return _ITEM.validate_json(row["data"])

    async def delete_thread(self, thread_id: str, context: str) -> None:
        await self._pool.execute("DELETE FROM reference_items WHERE thread_id = $1", thread_id)
        await self._pool.execute(
            "DELETE FROM reference_threads WHERE id = $1 AND user_id = $2", thread_id, context
        )

    async def delete_thread_item(self, thread_id: str, item_id: str, context: str) -> None:
        await self._pool.execute(
            "DELETE FROM reference_items WHERE id = $1 AND thread_id = $2", item_id, thread_id
        )

    async def save_attachment(self, attachment: Attachment, context: str) -> None:
        await self._pool.execute(
            "INSERT INTO reference_attachments VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET data = $3",
            attachment.id,
            context,
            attachment.model_dump_json(),
        )

    async def load_attachment(self, attachment_id: str, context: str) -> Attachment:
        row = await self._pool.fetchrow(
            "SELECT data FROM reference_attachments WHERE id = $1 AND user_id = $2", attachment_id, context
        )
        if row is None:
            raise NotFoundError(f"Attachment {attachment_id} not found")
        return _ATTACHMENT.validate_json(row["data"])

    async def delete_attachment(self, attachment_id: str, context: str) -> None:
        await self._pool.execute(
            "DELETE FROM reference_attachments WHERE id = $1 AND user_id = $2", attachment_id, context
        )


def _page(records: list[Any], limit: int) -> Page[Any]:
    has_more = len(records) > limit
    data = records[:limit]
    return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)


async def open_pool(database_url: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(database_url, min_size=2, max_size=20)
