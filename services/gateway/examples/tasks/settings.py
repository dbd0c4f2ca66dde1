"""What the example takes from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from bobbin_protocol.settings import read_settings
from tasks.store import TaskStore


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of the gateway's side and of the MCP server's."""

    data_dir: Annotated[str, Meta(description="Folder of the tasks, as of all other data")] = ".data"
    example_mcp: Annotated[bool, Meta(description="Whether the tools are those of the MCP server")] = False


def open_store(settings: Settings) -> TaskStore:
    """The tasks in the data folder."""
    return TaskStore(Path(settings.data_dir) / "tasks" / "tasks.sqlite3")


def settings() -> Settings:
    """As the environment says.

    Raises:
        BrokenSettings: It says what cannot be.
    """
    return read_settings(Settings, os.environ)
