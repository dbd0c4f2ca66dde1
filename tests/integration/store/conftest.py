"""The store as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import database_url, empty_database_url, postgres, readable_folder, server_dsn

__all__ = ["database_url", "empty_database_url", "postgres", "server_dsn"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder of the test's own."""
    with readable_folder() as path:
        yield path
