"""Statements in traces: what was asked of PostgreSQL, how long it took, and how it failed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from bobbin_telemetry import tracing


class Executed(Protocol):
    """What asyncpg tells of a statement. It knows the arguments, too: nobody else needs to."""

    @property
    def query(self) -> str: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def exception(self) -> BaseException | None: ...


def add_span(statement: Executed) -> None:
    """Add a statement that has just ended to the trace of its request (a query logger of asyncpg's)."""
    summary, error = summary_of(statement.query), statement.exception
    attributes = {
        "db.system.name": "postgresql",
        "db.query.summary": summary,
        "db.query.text": statement.query.strip(),  # without values: those are arguments
    }
    if (sqlstate := getattr(error, "sqlstate", None)) is not None:
        attributes["db.response.status_code"] = sqlstate
    tracing.past(summary, attributes, statement.elapsed, None if error is None else type(error).__name__)


@lru_cache(maxsize=512)
def summary_of(query: str) -> str:
    """What a statement does with which tables, in few words: ``UPDATE turns INSERT items``.

    One that writes nothing reads from the first table that it names.
    """
    steps = dict.fromkeys(_WRITE.findall(query))
    writes = [f"{verb.split()[0]} {table}" for verb, table in steps]
    if writes:
        return " ".join(writes)
    verb = query.split(maxsplit=1)[0].rstrip(";").upper()
    if verb not in {"SELECT", "WITH"}:
        return verb
    own = set(_NAMED.findall(query))
    read = next((table for table in _READ.findall(query) if table not in own), None)
    return f"SELECT {read}" if read else "SELECT"


_WRITE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) (?!SET\b)([a-z_]+)")
_READ = re.compile(r"\b(?:FROM|JOIN) ([a-z_]+)\b(?! ?\()")
_NAMED = re.compile(r"\b([a-z_]+) AS (?:MATERIALIZED )?\(")
