"""Plans: which index each statement must use, and on how many columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bobbin_store import attachments, blobs, changes, claims, gateways, items, journal, threads, watch
from bobbin_store.database import open_database
from bobbin_store.settings import Settings
from bobbin_store.turns import begin, cancel, early, finish, follow_up, join, record, result, retry
from tests.unit.store.conftest import TOKEN
from tests.unit.store.filled import filled, leased
from tests.unit.store.row_security import plain_connection

__all__ = ["filled", "leased"]

FULL_KEYS = {
    "threads_pkey": 2,
    "threads_by_creation": 2,
    "items_pkey": 3,
    "items_by_seq": 2,
    "turns_pkey": 2,
    "turns_one_running": 2,
    "turns_by_key": 2,
    "turns_deserted": 3,
    "turns_by_thread": 2,
    "attachments_pkey": 2,
}

KNOWN_BY = {"turns_pkey", "turns_by_key", "turns_deserted"}
"""How a request that came before is found."""

EXPECTED = [
    (threads.GET, {"threads_pkey"}),
    (threads.LOCK, {"threads_pkey"}),
    (threads.POSITION, {"threads_pkey"}),
    (threads.PAGE_ASC, {"threads_by_creation"}),
    (threads.PAGE_DESC, {"threads_by_creation"}),
    (threads.CHANGE, {"threads_pkey"}),
    (items.GET, {"items_pkey"}),
    (items.POSITION, {"items_pkey"}),
    (items.PAGE_ASC, {"items_by_seq", "turns_one_running"}),
    (items.PAGE_DESC, {"items_by_seq", "turns_one_running"}),
    (items.ADD, {"threads_pkey"}),
    (items.EMPTY_PAGE, {"threads_pkey", "turns_one_running"}),
    (begin.CREATE_THREAD, {*KNOWN_BY, "attachments_pkey"}),
    (
        begin.OPEN_AND_APPEND,
        {*KNOWN_BY, "threads_pkey", "items_by_seq", "turns_one_running", "attachments_pkey"},
    ),
    (
        retry.OPEN_AND_CUT,
        {*KNOWN_BY, "threads_pkey", "items_pkey", "items_by_seq", "turns_one_running"},
    ),
    (retry.TAKE, {"turns_pkey"}),
    (
        follow_up.OPEN,
        {*KNOWN_BY, "threads_pkey", "items_pkey", "items_by_seq", "turns_one_running"},
    ),
    (follow_up.CALLS, {"items_by_seq"}),
    (follow_up.ITEM, {"items_pkey"}),
    (follow_up.SINCE, {"items_by_seq"}),
    (join.BEGUN, {"turns_pkey", "items_pkey", "items_by_seq"}),
    (join.BY_KEY, {"turns_by_key"}),
    (join.BY_FINGERPRINT, {"turns_deserted", "turns_by_thread"}),
    (join.JOIN, {"turns_pkey"}),
    (early.ADD, {"turns_pkey", "threads_pkey"}),
    (finish.END, {"turns_pkey", "threads_pkey", "items_pkey"}),
    (cancel.CANCEL, {"turns_pkey"}),
    (cancel.DESERT, {"turns_pkey"}),
    (cancel.JOIN, {"turns_pkey"}),
    (record.GET, {"turns_pkey"}),
    (result.RESULT, {"turns_pkey", "threads_pkey", "items_pkey", "items_by_seq"}),
    (attachments.GET, {"attachments_pkey"}),
    (attachments.LOCK, {"attachments_pkey"}),
    (attachments.COMPLETE, {"attachments_pkey"}),
    (attachments.FIND, {"attachments_pkey"}),
]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def plan_of(dsn: str, sql: str) -> dict[str, Any]:
    """How a connection of the pool would run a statement, whatever its parameters."""
    async with plain_connection(dsn) as connection:
        kinds = [kind.name for kind in (await connection.prepare(sql)).get_parameters()]
        await connection.execute(f"PREPARE hot AS {sql}")
        values = ", ".join("'o1'" if kind == "text" else "NULL" for kind in kinds)
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot({values})")
    return json.loads(plan)[0]["Plan"]


def index_of(node: dict[str, Any]) -> str:
    """The index that a step of a plan runs along; of a part, as that of the whole table."""
    return re.sub(r"_p\d+$", "", node["Index Name"])


def first_line(sql: str) -> str:
    """A name for a statement."""
    return sql.strip().split("\n")[0][:40]


@pytest.mark.parametrize(
    ("sql", "indexes"),
    EXPECTED,
    ids=[first_line(sql) for sql, _ in EXPECTED],
)
async def test_every_hot_statement_runs_along_its_index(filled: str, sql: str, indexes: set[str]) -> None:
    plan = await plan_of(filled, sql)
    used = [(index_of(node), node) for node in nodes(plan) if "Index Name" in node]
    assert {name for name, _ in used} == indexes
    assert not [node["Node Type"] for node in nodes(plan) if node["Node Type"] in {"Seq Scan", "Sort"}]
    for name, node in used:
        columns = re.findall(r"(?<![.\w])(?:\w+\.)?(\w+)\b(?= [=<>]|,)", node["Index Cond"])
        assert len(set(columns)) >= FULL_KEYS[name], node["Index Cond"]


# Calls for many owners at once: which indexes they may use, and on how many columns at least. They may go
# through all gateways, and leap from one holder of leases to the next: there are few.

JOURNAL = {"journal_0_pkey": 2, "journal_1_pkey": 2, "journal_2_pkey": 2}
CHANGES = {"changes_0_pkey": 2, "changes_1_pkey": 2, "changes_2_pkey": 2}

EXPECTED_FOR_MANY = [
    (gateways.RENEW, {"turns_leased": 1, "turns_pkey": 2}),
    (claims.DECLARE_DEAD, {"gateways_pkey": 0}),
    (claims.ORPHANED, {"turns_leased": 0, "gateways_pkey": 0}),
    (claims.TAKE, {"turns_pkey": 2}),
    (claims.UNKNOWN, {"turns_leased": 1}),
    (journal.WRITE, {"gateways_pkey": 1, "turns_pkey": 2} | dict.fromkeys(JOURNAL, 3)),
    (journal.READ, JOURNAL),
    (watch.PROGRESS, {"turns_pkey": 2} | dict.fromkeys(JOURNAL, 3)),
    (changes.NEXT, CHANGES),
    (changes.RUNNING, {"turns_one_running": 1}),
    (blobs.FORGET_UNSENT, {"attachments_unsent": 1, "attachments_pkey": 2}),
    (blobs.TAKE_DUE, {"removed_blobs_by_due": 1, "removed_blobs_pkey": 2}),
    (blobs.FORGET_GONE, {"removed_blobs_pkey": 2}),
    (blobs.POSTPONE, {"removed_blobs_pkey": 2}),
]


@pytest.mark.parametrize(
    ("sql", "indexes"), EXPECTED_FOR_MANY, ids=[first_line(sql) for sql, _ in EXPECTED_FOR_MANY]
)
async def test_calls_for_many_owners_run_along_an_index_for_each(
    leased: str, sql: str, indexes: dict[str, int]
) -> None:
    plan = list(nodes(await plan_of(leased, sql)))
    assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    used = [node for node in plan if "Index Name" in node]
    assert {index_of(node) for node in used} <= set(indexes)
    for node in used:
        found = re.findall(r"(?<![.\w])(?:\w+\.)?(\w+)\b(?= [=<>]|,)", node.get("Index Cond", ""))
        assert len(set(found)) >= indexes[index_of(node)], node


async def test_no_statement_is_compiled(database_url: str) -> None:
    """Up to PostgreSQL 17 a sort that cannot be avoided looks so dear that JIT would be used for it."""
    settings = Settings(store_token=TOKEN, database_url=database_url)
    async with open_database(database_url, settings) as opened, opened.session("a") as session:
        assert await session.fetchval("SHOW jit") == "off"
