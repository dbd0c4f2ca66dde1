"""The tools as an MCP server, through the gateway's own connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.mcp.servers import McpTools
from bobbin_gateway.tools.tool import ToolError
from bobbin_protocol.events import ThreadItemDoneEvent, ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.threads import ThreadMetadata
from tasks.store import TaskStore
from tasks.tools import TaskTools
from tasks.widgets import numbers_in
from tests.conftest import ROOT
from tests.mcp import by_http, named, opened
from tests.processes import Service, free_port, running

TOKEN = "a token for tests only"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    port = free_port()
    environ = {
        "PYTHONPATH": str(ROOT / "services/gateway/examples"),
        "DATA_DIR": str(folder),
        "EXAMPLE_MCP_PORT": str(port),
        "EXAMPLE_MCP_TOKEN": TOKEN,
    }
    with running(Service("tasks.mcp_server", port, **environ)) as service:
        yield service


@pytest.fixture(scope="module")
async def mcp(service: Service) -> AsyncIterator[McpTools]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with opened(by_http(service.url, "tasks", headers=headers, trusted=True)) as mcp:
        yield mcp


class Model:
    """Calls tools in a user's turn, and keeps what they show."""

    def __init__(self, mcp: McpTools, owner_id: str) -> None:
        thread = ThreadMetadata(id="thr_1", created_at=datetime.now(UTC))
        self.turn = Turn(id="trn_1", owner_id=owner_id, thread=thread, history=[], message=None)
        self.shown: list[WidgetItem] = []
        self._mcp = mcp

    async def call(self, name: str, **arguments: Any) -> str:
        context = ToolContext(self.turn, self._emit, self._step)
        text = msgspec.json.encode(arguments).decode()
        return await named(self._mcp, f"tasks__{name}").call(context, text)

    async def _emit(self, event: ThreadStreamEvent) -> None:
        assert isinstance(event, ThreadItemDoneEvent)
        assert isinstance(event.item, WidgetItem)
        self.shown.append(event.item)

    async def _step(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def model(mcp: McpTools) -> Callable[[str], Model]:
    return lambda owner_id: Model(mcp, owner_id)


def test_it_has_the_same_tools(mcp: McpTools, folder: Path) -> None:
    ours = {f"tasks__{tool.spec.name}": tool.spec for tool in TaskTools(TaskStore(folder)).all()}
    theirs = {tool.spec.name: tool.spec for tool in mcp.tools()}
    assert theirs.keys() == ours.keys()
    for name, spec in ours.items():
        assert theirs[name].description == spec.description
        assert theirs[name].parameters == spec.parameters
        assert theirs[name].title == f"Tasks: {spec.title}"


async def test_its_tools_do_and_show_the_same(model: Callable[[str], Model]) -> None:
    ada = model("ada")
    assert await ada.call("create_task", title="Milk") == "Created: [ ] 1. Milk"
    assert await ada.call("complete_task", task=1) == "Completed: [x] 1. Milk"
    assert [(numbers_in(item), item.copy_text) for item in ada.shown] == [
        ([1], "[ ] 1. Milk"),
        ([1], "[x] 1. Milk"),
    ]
    assert "asked to confirm" in await ada.call("delete_all_tasks")
    assert "tasks.confirm" in str(ada.shown[-1].widget)
    assert await ada.call("list_tasks") == "[x] 1. Milk"


async def test_it_is_told_whose_tasks_they_are(model: Callable[[str], Model], folder: Path) -> None:
    await model("bob").call("create_task", title="his")
    assert await model("eve").call("list_tasks") == "No tasks"
    store = TaskStore(folder / "tasks" / "tasks.sqlite3")
    assert [task.title for task in await store.tasks("bob")] == ["his"]


async def test_mistakes_are_told_to_the_model(model: Callable[[str], Model]) -> None:
    with pytest.raises(ToolError, match="no task 77"):
        await model("ada").call("delete_task", task=77)
    with pytest.raises(ToolError, match="do not fit"):
        await model("ada").call("delete_task", task="first")


async def test_without_an_owner_nothing_is_done(service: Service) -> None:
    """As for a gateway that does not trust the server."""
    async with opened(by_http(service.url, "tasks", headers={"Authorization": f"Bearer {TOKEN}"})) as mcp:
        with pytest.raises(ToolError, match="bobbin/owner_id"):
            await Model(mcp, "ada").call("list_tasks")


@pytest.mark.parametrize("shown", [None, "Bearer", "Bearer no", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
async def test_without_the_token_nobody_gets_in(service: Service, shown: str | None) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"authorization": shown} if shown else {}
    async with httpx.AsyncClient(base_url=service.url) as http:
        assert (await http.post("/mcp", json=body, headers=headers)).status_code == 401
        assert (await http.get("/health/ready", headers=headers)).status_code == 200
