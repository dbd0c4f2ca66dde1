"""A store of tasks, and a user's turn with what is shown in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.tool import Tool
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.threads import ThreadMetadata
from tasks.store import TaskStore
from tasks.tools import TaskTools


@pytest.fixture
def store(tmp_path: Path) -> TaskStore:
    return TaskStore(tmp_path / "new" / "tasks.sqlite3")


class User:
    """One owner, whose model calls tools; what it shows is kept as the thread keeps it."""

    def __init__(self, store: TaskStore, owner_id: str) -> None:
        thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
        self.turn = Turn(id="trn_1", owner_id=owner_id, thread=thread, history=[], message=None)
        self.tools: dict[str, Tool] = {tool.spec.name: tool for tool in TaskTools(store).all()}
        self.shown: list[WidgetItem] = []

    async def call(self, name: str, **arguments: Any) -> str:
        """Have the model call a tool."""
        context = ToolContext(self.turn, self._emit, self._step)
        return await self.tools[name].call(context, msgspec.json.encode(arguments).decode())

    async def _emit(self, event: ThreadStreamEvent) -> None:
        assert isinstance(event, ThreadItemDoneEvent)
        assert isinstance(event.item, WidgetItem)
        self.shown.append(msgspec.convert(msgspec.to_builtins(event.item), WidgetItem))

    async def _step(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def user(store: TaskStore) -> Callable[[str], User]:
    return lambda owner_id: User(store, owner_id)
