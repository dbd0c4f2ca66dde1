"""The task assistant, through HTTP: with tools of its own, and with those of its MCP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.client import Client, Event, answers_of, errors_of, kinds_of, thread_id_of
from tests.conftest import ROOT
from tests.integration.gateway.test_owners import token
from tests.integration.test_run import everything
from tests.processes import Service, free_port, running
from tests.stack import JWT_SECRET, Stack, gateway_service, temporary_data

EXAMPLES = ROOT / "services/gateway/examples"
Json = dict[str, Any]
PREFIX = {"tools": "", "MCP server": "tasks__"}


@pytest.fixture(scope="module", params=["tools", "MCP server"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def gateway(variant: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The processes that ``make run EXAMPLE=tasks`` starts, with a store and a model that tests share."""
    port = free_port()
    settings = {
        "PYTHONPATH": str(EXAMPLES),
        "GATEWAY_AGENT": "tasks.agent:assistant",
        "DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "MODEL": "demo",
        "AUTH": "jwt",
        "JWT_SECRET": JWT_SECRET,
    }
    with ExitStack() as services:
        if variant == "MCP server":
            mcp = {
                "EXAMPLE_MCP": "1",
                "EXAMPLE_MCP_PORT": str(port),
                "EXAMPLE_MCP_TOKEN": "a token for tests",
            }
            settings |= {**mcp, "MCP_CONFIG": str(EXAMPLES / "tasks" / "mcp.json")}
            services.enter_context(running(Service("tasks.mcp_server", port, **settings)))
        yield services.enter_context(running(gateway_service(stack.store, stack.model, **settings)))


class User(Client):
    """An owner with a conversation; what is received is checked against the reference's types."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__(http, {"authorization": f"Bearer {token(f'user-{uuid4()}')}"})
        self.thread_id = ""

    async def says(self, text: str) -> list[Event]:
        """Say something; the answer must have no error."""
        events = await (self.say(self.thread_id, text) if self.thread_id else self.create(text))
        self.thread_id = self.thread_id or thread_id_of(events)
        assert errors_of(events) == []
        return events

    async def shown(self, text: str) -> Json:
        """Say something; gives the widget that is shown."""
        [widget] = widgets(await self.says(text))
        return widget

    async def presses(self, sender: Json, button: Json) -> list[Event]:
        """Press a button that begins a turn."""
        return await self.events(
            "threads.custom_action",
            thread_id=self.thread_id,
            item_id=sender["id"],
            action={"type": button["type"], "payload": button["payload"]},
        )

    async def presses_quickly(self, sender: Json, button: Json) -> Json:
        """Press one that begins none; gives the widget as it is now."""
        answer = await self.call(
            "threads.sync_custom_action",
            thread_id=self.thread_id,
            item_id=sender["id"],
            action={"type": button["type"], "payload": button["payload"]},
        )
        return answer["updated_item"]

    async def items(self) -> list[Json]:
        return (await self.call("items.list", thread_id=self.thread_id, order="asc", limit=100))["data"]


@pytest.fixture
async def user(gateway: Service, variant: str) -> AsyncIterator[Callable[[], User]]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        await offers(http, f"{PREFIX[variant]}list_tasks")
        yield lambda: User(http)


async def offers(http: httpx.AsyncClient, name: str) -> None:
    """Wait until the gateway offers a tool: it waits for no MCP server."""
    async with asyncio.timeout(30):
        while "The tool says" not in answers_of(await User(http).says(f"call {name}"))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def widgets(events: list[Event]) -> list[Json]:
    items = [event["item"] for event in events if event["type"] == "thread.item.done"]
    return [item for item in items if item["type"] == "widget"]


def replaced(events: list[Event]) -> Json:
    [item] = [event["item"] for event in events if event["type"] == "thread.item.replaced"]
    return item


def button(item: Json, kind: str) -> Json:
    """The action of the first button of a kind."""
    return next(action for action in _actions(item["widget"]) if action["type"] == kind)


def _actions(component: Any) -> Iterator[Json]:
    if isinstance(component, dict):
        if "handler" in component:
            yield component
        for inner in component.values():
            yield from _actions(inner)
    elif isinstance(component, list):
        for inner in component:
            yield from _actions(inner)


async def test_tasks_are_created_and_listed_by_message_and_completed_by_button(
    user: Callable[[], User], variant: str
) -> None:
    ada = user()
    events = await ada.says("Create a task: buy 2 litres of milk")
    [created] = widgets(events)
    assert created["copy_text"] == "[ ] 1. buy 2 litres of milk"
    assert answers_of(events) == ["The tool says: “Created: [ ] 1. buy 2 litres of milk”."]
    [step] = [
        e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "workflow"
    ]
    title = "Create task" if variant == "tools" else "Tasks: Create task"
    assert [(task["title"], task["status_indicator"]) for task in step["workflow"]["tasks"]] == [
        (title, "complete")
    ]
    await ada.says("create a task walk the dog")
    listed = await ada.shown("list my tasks")
    assert listed["copy_text"] == "[ ] 1. buy 2 litres of milk\n[ ] 2. walk the dog"

    done = button(listed, "tasks.complete")
    assert done["streaming"] is False
    now = await ada.presses_quickly(listed, done)
    assert now["copy_text"] == "[x] 1. buy 2 litres of milk\n[ ] 2. walk the dog"
    assert now in await ada.items()
    assert (await ada.shown("list tasks"))["copy_text"] == now["copy_text"]
    assert (await ada.presses_quickly(now, button(now, "tasks.reopen")))["copy_text"] == listed["copy_text"]


async def test_a_button_changes_its_list_in_place_and_the_model_is_told(
    user: Callable[[], User], stack: Stack
) -> None:
    ada = user()
    marker = uuid4().hex
    listed = await ada.shown(f"create a task {marker}")
    events = await ada.presses(listed, button(listed, "tasks.delete"))
    assert kinds_of(events) == ["stream_options", "thread.item.replaced"]
    gone = replaced(events)
    assert (gone["id"], gone["copy_text"]) == (listed["id"], f"[deleted] 1. {marker}")
    assert [item["type"] for item in await ada.items() if item["type"] == "widget"] == ["widget"]
    await ada.says(f"say:{marker} what happened?")
    async with httpx.AsyncClient(base_url=stack.model.url) as http:
        asked = (await http.get("/requests", params={"contains": f"say:{marker}"})).json()["requests"][-1]
    assert f"By a button, the user made it: [deleted] 1. {marker}" in json.dumps(asked["body"])
    restored = replaced(await ada.presses(gone, button(gone, "tasks.restore")))
    assert restored["copy_text"] == listed["copy_text"]


async def test_to_delete_all_the_user_is_asked_and_yes_counts_once(user: Callable[[], User]) -> None:
    ada = user()
    for title in ("a", "b"):
        await ada.says(f"create a task {title}")
    question = await ada.shown("delete all my tasks")
    confirm = question["widget"]["confirm"]
    assert (confirm["label"], question["widget"]["cancel"]["label"]) == ("Yes, delete all", "Cancel")
    await ada.says("create a task that came later")
    assert "[ ] 1. a" in (await ada.shown("list tasks"))["copy_text"]

    events = await ada.presses(question, confirm["action"])
    assert replaced(events)["copy_text"] == "Deleted 2 tasks."
    assert (await ada.shown("list tasks"))["copy_text"] == "[ ] 3. that came later"
    again = await ada.presses(question, confirm["action"])
    assert [event["message"] for event in errors_of(again)] == ["This button is not there any more."]
    assert (await ada.shown("list tasks"))["copy_text"] == "[ ] 3. that came later"


async def test_to_complete_all_the_user_is_asked_and_may_say_no(user: Callable[[], User]) -> None:
    ada = user()
    await ada.says("create a task a")
    question = await ada.shown("complete all tasks")
    now = replaced(await ada.presses(question, question["widget"]["cancel"]["action"]))
    assert now["copy_text"] == "Nothing was completed."
    question = await ada.shown("complete all tasks")
    now = await ada.presses_quickly(question, question["widget"]["confirm"]["action"])
    assert now["copy_text"] == "Completed 1 task."
    assert (await ada.shown("list tasks"))["copy_text"] == "[x] 1. a"


async def test_of_confirmations_at_once_one_counts(user: Callable[[], User]) -> None:
    ada = user()
    await ada.says("create a task a")
    question = await ada.shown("delete all tasks")
    action = {key: question["widget"]["confirm"]["action"][key] for key in ("type", "payload")}
    request = {
        "type": "threads.sync_custom_action",
        "params": {"thread_id": ada.thread_id, "item_id": question["id"], "action": action},
    }
    answers = await asyncio.gather(*(ada.post(request) for _ in range(5)))
    told = {a.json()["updated_item"]["copy_text"] for a in answers if a.status_code == 200}
    assert told == {"Deleted 1 task."}
    [card] = [item for item in await ada.items() if item["id"] == question["id"]]
    assert card["copy_text"] == "Deleted 1 task."


async def test_nobody_reaches_anothers_tasks_or_questions(user: Callable[[], User]) -> None:
    ada, eve = user(), user()
    await ada.says("create a task hers")
    question = await ada.shown("delete all tasks")
    confirm = question["widget"]["confirm"]["action"]
    assert (await eve.shown("list tasks"))["copy_text"] == "No tasks"
    own = await eve.shown("create a task mine")

    # through the question itself, which is in another's thread
    thread_id, eve.thread_id = eve.thread_id, ada.thread_id
    events = await eve.presses(question, confirm)
    assert kinds_of(events) == ["error"]
    # from widgets of their own
    eve.thread_id = thread_id
    foreign = {"type": "tasks.confirm", "payload": confirm["payload"]}
    asked = await eve.shown("delete all tasks")
    for sender in (own, asked):
        assert [e["message"] for e in errors_of(await eve.presses(sender, foreign))] == [
            "This button is not there any more."
        ]
    assert (await ada.shown("list tasks"))["copy_text"] == "[ ] 1. hers"
    assert replaced(await ada.presses(question, confirm))["copy_text"] == "Deleted 1 task."


@pytest.mark.parametrize(
    "payload", [None, {"task": 2}, {"task": "1"}, {"task": 1, "owner_id": "x"}, [1], "1"]
)
async def test_a_made_up_action_does_nothing(user: Callable[[], User], payload: Any) -> None:
    ada = user()
    await ada.says("create a task a")
    await ada.says("create a task b")
    first = next(item for item in await ada.items() if item["type"] == "widget")
    made_up = {"type": "tasks.delete", "payload": payload}
    assert len(errors_of(await ada.presses(first, made_up))) == 1
    params = {"thread_id": ada.thread_id, "item_id": first["id"], "action": made_up}
    answer = await ada.post({"type": "threads.sync_custom_action", "params": params})
    assert answer.status_code >= 400
    assert answer.json()["message"] == "This button is not there any more."
    assert (await ada.shown("list tasks"))["copy_text"] == "[ ] 1. a\n[ ] 2. b"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("settings", [{}, {"EXAMPLE_MCP": "1"}], ids=["tools", "MCP server"])
async def test_one_command_starts_it(settings: dict[str, str]) -> None:
    """It needs no key, and keeps the tasks in the data folder."""
    with temporary_data() as data:
        for title in ("one", "two"):
            with everything(data, EXAMPLE="tasks", **settings) as (url, _):
                async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                    await offers(http, "tasks__list_tasks" if settings else "list_tasks")
                    chat = Client(http)
                    await chat.create(f"create a task {title}")
                    [listed] = widgets(await chat.create("list my tasks"))
        assert listed["copy_text"] == "[ ] 1. one\n[ ] 2. two"
        assert names_in(data / "tasks") == ["tasks.sqlite3"]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
