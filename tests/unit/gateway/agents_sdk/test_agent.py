"""An SDK agent as an agent of the gateway: what it is asked, and with which model, tools and context."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from agents import Agent, RunConfig, RunContextWrapper, function_tool
from msgspec.structs import replace

from bobbin_gateway.agent import Agent as AgentProtocol
from bobbin_gateway.agent import Turn
from bobbin_gateway.agents_sdk import AgentsSDKAgent, ChatContext
from bobbin_protocol.items import HiddenContextItem, WidgetItem, WorkflowItem
from tests.model import ModelServer
from tests.sdk import calling, constant_tool, get_weather
from tests.unit.gateway.agents_sdk.running import adapted, hear, run, steps_of
from tests.unit.gateway.openai_agent.samples import assistant, turn, user


class Shop(ChatContext):
    """A context with prices."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn)
        self.prices = {"tea": 3}


async def test_a_message_is_answered(config: RunConfig) -> None:
    agent: AgentProtocol = adapted(config)
    mine = turn(user("say:Hello there"))
    heard = await hear(agent, mine)  # type: ignore[arg-type]
    assert heard.texts == [["Hello there"]]
    assert mine.usage is not None
    assert mine.usage.output_tokens > 0


async def test_the_model_gets_the_thread_and_the_instructions(
    config: RunConfig, model_server: ModelServer
) -> None:
    word = uuid4().hex
    history = [user("Hi"), assistant("Hello", "you"), replace(user(f"And {word}?"), quoted_text="this")]
    await hear(adapted(config, instructions="Be brief"), turn(*history))
    [request] = model_server.received(word)
    assert request["body"]["instructions"] == "Be brief"
    assert request["body"]["input"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello\n\nyou"},
        {"role": "user", "content": f"[About this passage: this]\nAnd {word}?"},
    ]


async def test_the_client_may_choose_the_model_and_the_tool(
    config: RunConfig, model_server: ModelServer
) -> None:
    word = uuid4().hex
    mine = turn(user(word), model="script:text=chosen")
    mine.tool_choice = "look"
    heard = await hear(adapted(config, tools=[constant_tool("look")]), mine)
    assert heard.texts == [["chosen"]]
    [request] = model_server.received(word)
    assert request["body"]["tool_choice"] == {"type": "function", "name": "look"}


async def test_tools_show_widgets_and_progress_while_their_call_is_shown(config: RunConfig) -> None:
    model = calling({"get_weather": {"city": "Rome"}}, text="It is sunny")
    heard = await run(config, model, tools=[get_weather])
    assert heard.kinds[:4] == [
        "thread.item.added",
        "progress_update",
        "thread.item.done",
        "workflow.task.updated",
    ]
    workflow, widget = heard.items[:2]
    assert isinstance(workflow, WorkflowItem)
    assert isinstance(widget, WidgetItem)
    assert widget.copy_text == "o sees the sun"
    assert steps_of(heard) == [("Get weather", "complete")]
    assert heard.texts == [["It is sunny"]]


async def test_calls_need_not_be_shown(config: RunConfig) -> None:
    agent = adapted(config, tools=[constant_tool("look")], options={"show_tools": False})
    heard = await hear(agent, turn(model=calling({"look": {}}, text="Done")))
    assert steps_of(heard) == []
    assert heard.texts == [["Done"]]


async def test_later_turns_know_what_tools_did(config: RunConfig, model_server: ModelServer) -> None:
    word = uuid4().hex
    heard = await run(
        config, calling({"look": {"at": word}}, text="Done"), tools=[constant_tool("look", "a bird")]
    )
    memories = [item for item in heard.items if isinstance(item, HiddenContextItem)]
    assert len(memories) == 1
    await hear(adapted(config), turn(user("Hello"), *heard.items, user("And?")))
    call, output = model_server.received(word)[-1]["body"]["input"][1:3]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "look", f'{{"at":"{word}"}}')
    assert output == {"type": "function_call_output", "call_id": call["call_id"], "output": "a bird"}


async def test_a_context_of_your_own_carries_more(config: RunConfig) -> None:
    @function_tool
    async def price(wrapper: RunContextWrapper[Shop], of: str) -> str:
        return f"{wrapper.context.prices[of]} for {wrapper.context.owner_id}"

    agent = adapted(config, tools=[price], options={"context": Shop})
    heard = await hear(agent, turn(model=calling({"price": {"of": "tea"}}, text="Done")))
    [memory] = [item for item in heard.items if isinstance(item, HiddenContextItem)]
    assert memory.content["results"][0]["output"] == "3 for o"


async def test_an_agent_may_hand_over_to_another(config: RunConfig) -> None:
    refunds: Agent[Any] = Agent(name="Refunds", model="script:text=Refunded")
    config.model = None
    heard = await hear(
        adapted(config, model=calling({"transfer_to_refunds": {}}), handoffs=[refunds]), turn()
    )
    assert steps_of(heard) == [("Transfer to refunds", "complete")]
    assert heard.texts == [["Refunded"]]
    assert not [item for item in heard.items if isinstance(item, HiddenContextItem)]


def test_runs_are_not_reported_to_anyone_unless_a_run_config_says_so() -> None:
    agent = Agent[ChatContext](name="Helper")
    assert AgentsSDKAgent(agent)._run_config.tracing_disabled
    assert not AgentsSDKAgent(agent, run_config=RunConfig())._run_config.tracing_disabled
