"""Statements in traces: their names (how they get there: tests/integration/gateway/test_traces.py)."""

from __future__ import annotations

import pytest

from bobbin_store import items, journal, owners
from bobbin_store.database import OWNER
from bobbin_store.statements import summary_of
from bobbin_store.turns import begin, finish, record


@pytest.mark.parametrize(
    ("query", "summary"),
    [
        (record.GET, "SELECT turns"),
        (journal.WRITE, "INSERT journal UPDATE turns"),
        (finish.END, "UPDATE turns INSERT journal UPDATE threads INSERT items"),
        (begin.CREATE_THREAD, "INSERT threads INSERT turns INSERT items UPDATE attachments INSERT changes"),
        (items.DELETE, "DELETE items INSERT changes"),
        (owners.LOCK_THREADS, "SELECT threads"),
        (OWNER, "SELECT"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ;", "BEGIN"),
        ("COMMIT;", "COMMIT"),
    ],
)
def test_a_statement_is_named_by_what_it_does_with_which_tables(query: str, summary: str) -> None:
    assert summary_of(query) == summary
