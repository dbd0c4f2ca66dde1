"""Row-level security: the wall between owners that stands whatever a statement asks for."""

from __future__ import annotations

import asyncpg
import pytest

from tests.unit.store.row_security import plain_connection, two_owners

__all__ = ["two_owners"]

TABLES = ["threads", "items", "turns", "attachments", "feedback", "journal", "changes", "removed_blobs"]


@pytest.mark.parametrize("table", TABLES)
async def test_without_an_owner_no_row_is_visible(two_owners: str, table: str) -> None:
    async with plain_connection(two_owners) as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_other_owners_are_neither_seen_nor_changed_nor_made(
    two_owners: str, table: str
) -> None:
    async with plain_connection(two_owners, "alice") as connection:
        seen = await connection.fetch(f"SELECT owner_id FROM {table}")
        assert [row["owner_id"] for row in seen] == ["alice"]
        assert (
            await connection.execute(f"UPDATE {table} SET owner_id = owner_id WHERE owner_id = 'bob'")
            == "UPDATE 0"
        )
        assert await connection.execute(f"DELETE FROM {table} WHERE owner_id = 'bob'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(f"UPDATE {table} SET owner_id = 'carol'")
