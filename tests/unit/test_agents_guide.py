"""docs/agents.md tells the truth: each of its examples runs here, and does what the text says."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bobbin_gateway import agent as agents
from bobbin_gateway import replies
from bobbin_gateway.agent import ActingAgent, AgentError, Turn
from bobbin_gateway.openai_agent.agent import open_agent
from bobbin_gateway.settings import Settings
from bobbin_gateway.tools.memory import recalled
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import (
    ClientToolCallItem,
    HiddenContextItem,
    InferenceOptions,
    StructuredInputItem,
    UserMessageItem,
    UserMessageTextContent,
    WidgetItem,
    WorkflowItem,
)
from bobbin_protocol.structured_input import StructuredInputAnswer
from bobbin_protocol.tasks import CustomTask
from bobbin_protocol.threads import ThreadMetadata
from bobbin_protocol.wire import encode_json
from tests.client import Event, answers_of, check_event, kinds_of
from tests.model import ModelServer, model_server

__all__ = ["model_server"]

GUIDE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
EXAMPLES: dict[str, str] = {
    name: source for source, name in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", GUIDE, re.DOTALL)
}


def example(name: str, folder: Path | None = None) -> Any:
    """The agent of an example."""
    path = (folder or Path()) / f"{name}.py"
    namespace: dict[str, Any] = {"__name__": name, "__file__": str(path)}
    exec(compile(EXAMPLES[name], str(path), "exec"), namespace)
    return namespace["agent"]


def a_turn(text: str | None) -> Turn:
    now = datetime.now(UTC)
    message = text and UserMessageItem(
        id="msg_1",
        thread_id="thr_1",
        created_at=now,
        content=[UserMessageTextContent(text=text)],
        inference_options=InferenceOptions(),
    )
    return Turn(
        id="trn_1",
        owner_id="ada",
        thread=ThreadMetadata(id="thr_1", created_at=now),
        history=[message] if message else [],
        message=message or None,
    )


async def sent(events: AsyncIterator[ThreadStreamEvent], fold: ItemFold) -> list[Event]:
    """The events as a client gets them, each accepted by the reference; `fold` takes them in."""
    seen: list[Event] = []
    async for event in events:
        fold.apply(event)
        seen.append(msgspec.json.decode(encode_json(event)))
        check_event(seen[-1])
    return seen


def test_every_example_is_tested_here() -> None:
    assert len(EXAMPLES) == GUIDE.count("```python")
    tested = set(re.findall(r'example\("(\w+)"', Path(__file__).read_text()))
    assert tested == EXAMPLES.keys()


def test_every_reply_and_every_ability_is_in_the_guide() -> None:
    all_replies = [
        name
        for name, function in vars(replies).items()
        if inspect.isfunction(function) and function.__module__ == replies.__name__ and name[0] != "_"
    ]
    assert len(all_replies) > 10
    assert [name for name in all_replies if f"replies.{name}(" not in "".join(EXAMPLES.values())] == []
    abilities = [name for name in vars(agents) if name.endswith("Agent") and name != "Agent"]
    assert [name for name in abilities if f"`{name}`" not in GUIDE] == []


async def test_the_first_agent_streams_and_names_the_thread() -> None:
    turn = a_turn("Ada")
    events = await sent(example("my_agent").respond(turn), ItemFold())
    assert answers_of(events) == ["Hello, **Ada**!"]
    assert "assistant_message.content_part.text_delta" in kinds_of(events)
    assert turn.thread.title == "A greeting"


async def test_replies_are_passing_or_kept_as_the_comments_say() -> None:
    fold = ItemFold()
    events = await sent(example("everything").respond(a_turn("Hi")), fold)
    assert [event["type"] for event in events[:3]] == ["progress_update", "notice", "client_effect"]
    assert [msgspec.to_builtins(item)["type"] for item in fold.items()] == [
        "assistant_message",
        "task",
        "generated_image",
        "hidden_context_item",
        "end_of_turn",
    ]


async def test_steps_are_shown_and_fold_up_before_the_message() -> None:
    fold = ItemFold()
    events = await sent(example("steps").respond(a_turn("Hi")), fold)
    assert kinds_of(events) == [
        "thread.item.added workflow",
        "workflow.task.updated",
        "workflow.task.added",
        "workflow.task.updated",
        "thread.item.done workflow",
        "thread.item.done assistant_message",
    ]
    [workflow, _] = msgspec.to_builtins(fold.items())
    assert [task["status_indicator"] for task in workflow["workflow"]["tasks"]] == ["complete"] * 2


async def test_of_a_widget_that_changes_only_the_new_text_is_sent() -> None:
    events = await sent(example("weather").respond(a_turn("Hi")), ItemFold())
    assert kinds_of(events) == [
        "thread.item.added widget",
        "widget.streaming_text.value_delta",
        "widget.streaming_text.value_delta",
        "widget.component.updated",
        "thread.item.done widget",
    ]
    assert events[-1]["item"]["widget"]["children"][1]["value"] == "Sun, then rain."


async def test_a_button_leads_to_its_action_and_to_the_widget_as_it_is_then() -> None:
    agent, turn, fold = example("poll"), a_turn("Hi"), ItemFold()
    await sent(agent.respond(turn), fold)
    [sender] = fold.items()
    assert isinstance(agent, ActingAgent)
    assert isinstance(sender, WidgetItem)
    button = msgspec.to_builtins(sender)["widget"]["children"][2]
    pressed = msgspec.convert(button["onClickAction"], Action)
    await sent(agent.on_action(turn, pressed, sender), fold)
    [widget, note] = msgspec.to_builtins(fold.items())
    assert [child.get("label") for child in widget["widget"]["children"]] == [None, "Soup: 0", "Salad: 1"]
    assert widget["id"] == sender.id
    assert note["content"] == "The user voted for Salad."


@pytest.mark.parametrize("payload", [None, {}, {"option": 3}, {"option": "Cake"}])
async def test_an_action_that_no_button_sends_is_refused(payload: Any) -> None:
    agent, turn = example("poll"), a_turn("Hi")
    await sent(agent.respond(turn), ItemFold())
    with pytest.raises(AgentError, match="not on the menu"):
        await sent(agent.on_action(turn, Action(type="vote", payload=payload), None), ItemFold())


async def test_a_widget_comes_from_a_file(tmp_path: Path) -> None:
    template = '{"type": "Card", "children": [{"type": "Title", "value": {{ name | tojson }}}]}'
    definition = {"version": "1.0", "name": "Greeting", "template": template}
    (tmp_path / "greeting.widget").write_text(json.dumps(definition))
    [event] = await sent(example("studio", tmp_path).respond(a_turn("Ada")), ItemFold())
    assert event["item"]["widget"]["children"][0]["value"] == "Ada"


async def test_answers_and_outputs_begin_turns_that_go_on_from_them() -> None:
    agent = example("order")
    fold = ItemFold()
    await sent(agent.respond(a_turn("A pizza")), fold)
    [asked] = fold.items()
    assert isinstance(asked, StructuredInputItem)
    asked.inputs[0].answer = StructuredInputAnswer(values=["large"])
    asked.inputs[1].answer = StructuredInputAnswer(skipped=True)

    answered = a_turn(None)
    answered.history = [asked]
    fold = ItemFold()
    await sent(agent.respond(answered), fold)
    [call] = fold.items()
    assert isinstance(call, ClientToolCallItem)
    assert (call.name, call.arguments, call.status) == ("addToCart", {"size": "large"}, "pending")

    called = a_turn(None)
    called.history = [asked, msgspec.structs.replace(call, status="completed", output="1 pizza")]
    assert answers_of(await sent(agent.respond(called), ItemFold())) == ["In your cart: 1 pizza"]


async def test_an_agent_says_itself_what_is_wrong() -> None:
    fold = ItemFold()
    with pytest.raises(AgentError, match="closed") as raised:
        await sent(example("refusal").respond(a_turn("Hi")), fold)
    assert raised.value.allow_retry
    assert len(fold.items()) == 1


@pytest.mark.parametrize(
    ("product", "told", "step"),
    [("sock", "3", "complete"), ("shoe", "Error: There is no such product; we have socks and hats.", "none")],
)
async def test_tools_are_the_models(model_server: ModelServer, product: str, told: str, step: str) -> None:
    calls = json.dumps([{"name": "stock", "arguments": {"product": product}}])
    model = f"script:text=So it is.&calls={quote(calls)}"
    settings = Settings(
        store_token="x" * 16, openai_api_key="k", openai_base_url=model_server.base_url, model=model
    )
    fold = ItemFold()
    async with open_agent(settings, example("shop")) as agent:
        seen = await sent(agent.respond(a_turn("How many?")), fold)
    assert answers_of(seen) == ["So it is."]
    assert {"type": "progress_update", "text": f"Counting: {product}"} in seen
    [workflow] = [item for item in fold.items() if isinstance(item, WorkflowItem)]
    [task] = workflow.workflow.tasks
    assert isinstance(task, CustomTask)
    assert (task.title, task.status_indicator) == ("Looking at the shelves", step)
    [hidden] = [item for item in fold.items() if isinstance(item, HiddenContextItem)]
    exchange = recalled(hidden.content)
    assert exchange is not None
    assert exchange.results[0].output == told
