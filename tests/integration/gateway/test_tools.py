"""Tools through HTTP: a whole gateway with tools of its own and of an MCP server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from bobbin_gateway.assistant import Assistant
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import tool
from bobbin_gateway.tools.tool import ClientTool, ToolSpec
from tests.client import Client, answers_of, errors_of, thread_id_of
from tests.conftest import ROOT
from tests.mcp import http_service
from tests.processes import Service, free_port, running
from tests.stack import STORE_TOKEN, Stack, gateway_service


@tool(title="Whose turn it is")
async def whoami(context: ToolContext) -> str:
    """Say who asks."""
    await context.progress("Looking")
    return context.owner_id


page = ClientTool(
    spec=ToolSpec(name="page", description="Ask the page.", parameters={"type": "object"}, title="Page")
)
assistant = Assistant(tools=[whoami, page], instructions="Use your tools.")


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A gateway whose model has the tools above, and those of an MCP server."""
    with ExitStack() as services:
        server = services.enter_context(running(http_service(free_port())))
        file = tmp_path_factory.mktemp("mcp") / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"sums": {"url": f"{server.url}/mcp"}}}))
        settings = {
            "MCP_CONFIG": str(file),
            "GATEWAY_AGENT": f"{__name__}:assistant",
            "PYTHONPATH": str(ROOT),
            "TOOL_CHOICES": "whoami",
        }
        yield services.enter_context(running(gateway_service(stack.store, stack.model, **settings)))


@pytest.fixture
async def chat(gateway: Service) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield Client(http)


def calling(*calls: tuple[str, Any], text: str = "Done.") -> tuple[str, str]:
    """A model that makes these calls at once and then speaks, and a word by which its requests are found."""
    seed = f"seed={uuid4().int % 10**9}"
    scripted = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
    return f"script:{seed}&text={text}&calls={quote(scripted)}", seed


async def asked(stack: Stack, seed: str) -> list[dict[str, Any]]:
    """The bodies of what the model was asked."""
    async with httpx.AsyncClient(base_url=stack.model.url, timeout=30) as http:
        found = (await http.get("/requests", params={"contains": seed})).json()
    return [request["body"] for request in found["requests"]]


async def tool_names(stack: Stack, chat: Client) -> set[str]:
    model, seed = calling(("whoami", {}))
    await chat.create("Hi", model=model)
    return {tool["name"] for tool in (await asked(stack, seed))[0]["tools"]}


async def test_tools_of_both_kinds_are_used_seen_and_remembered(chat: Client, stack: Stack) -> None:
    async with asyncio.timeout(20):  # the MCP server is connected to in the background
        while not any(name.startswith("sums__") for name in await tool_names(stack, chat)):
            pass
    model, seed = calling(("whoami", {}), ("sums__add", {"a": 19, "b": 23}))
    events = await chat.create("Who am I, and what is 19 + 23?", model=model)
    assert answers_of(events) == ["Done."]
    assert not errors_of(events)
    [workflow] = [
        e["item"] for e in events if e["type"] == "thread.item.done" and e["item"]["type"] == "workflow"
    ]
    assert [task["status_indicator"] for task in workflow["workflow"]["tasks"]] == ["complete", "complete"]
    assert {"type": "progress_update", "text": "Looking"} in events
    assert "hidden_context_item" not in json.dumps(events)
    assert '"local"' in json.dumps((await asked(stack, seed))[1])

    thread_id = thread_id_of(events)
    items = (await chat.call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert [item["type"] for item in items] == ["user_message", "workflow", "assistant_message"]
    assert items[1] == workflow

    again, seed = calling(text="I remember.")
    assert answers_of(await chat.say(thread_id, "And now?", model=again)) == ["I remember."]
    [body] = await asked(stack, seed)
    told = [item for item in body["input"] if item.get("type") == "function_call_output"]
    assert [item["output"] for item in told] == ["local", "42"]


async def test_what_the_page_answers_goes_on_as_another_turn(chat: Client, stack: Stack) -> None:
    model, _ = calling(("page", {"colour": "?"}), text="never")
    events = await chat.create("Ask the page", model=model)
    [call] = [e["item"] for e in events if e.get("item", {}).get("type") == "client_tool_call"]
    assert (call["status"], call["arguments"]) == ("pending", {"colour": "?"})
    result = {"colour": "green"}
    on = await chat.events("threads.add_client_tool_output", thread_id=thread_id_of(events), result=result)
    assert not errors_of(on)
    items = (await chat.call("items.list", thread_id=thread_id_of(events), order="asc"))["data"]
    assert [item["type"] for item in items] == ["user_message", "client_tool_call", "assistant_message"]
    assert (items[1]["status"], items[1]["output"]) == ("completed", result)


@pytest.mark.parametrize(("choice", "offered"), [("whoami", True), ("page", False)])
async def test_a_user_may_choose_a_tool_that_is_on_offer(
    chat: Client, stack: Stack, choice: str, offered: bool
) -> None:
    model, seed = calling(text="ok")
    options = {"model": model, "tool_choice": {"id": choice}}
    content = [{"type": "input_text", "text": "Hi"}]
    body = {"input": {"content": content, "attachments": [], "inference_options": options}}
    response = await chat.http.post("/chatkit", json={"type": "threads.create", "params": body})
    if not offered:
        assert response.status_code == 400
        assert "tool_choice" in response.text
        return
    assert response.status_code == 200
    [body] = await asked(stack, seed)
    assert body["tool_choice"] == {"type": "function", "name": choice}


def test_a_wrong_mcp_file_stops_the_start_with_a_line_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {}}}')
    environ = {
        **os.environ,
        "STORE_TOKEN": STORE_TOKEN,
        "MCP_CONFIG": str(file),
        "GATEWAY_PORT": str(free_port()),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "bobbin_gateway"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert str(file) in ended.stderr
    assert "Traceback" not in ended.stderr
