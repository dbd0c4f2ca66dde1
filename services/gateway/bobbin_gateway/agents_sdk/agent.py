"""An agent of the OpenAI Agents SDK behind the gateway's `Agent` protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from agents import Agent, ModelSettings, RunConfig, RunHooks, Runner, TResponseInputItem

from bobbin_gateway.agent import Turn
from bobbin_gateway.agents_sdk.context import ChatContext
from bobbin_gateway.agents_sdk.history import input_items
from bobbin_gateway.agents_sdk.hooks import ToolHooks
from bobbin_gateway.agents_sdk.stream import stream_events
from bobbin_protocol.events import ThreadStreamEvent

_MAX_ROUNDS = 10
"""The SDK's own default."""


class AgentsSDKAgent:
    """Answers by running an SDK agent, whose handoffs, tools, guardrails and hooks work as ever.

    The run's context is a `ChatContext`: a function tool gets it as ``wrapper.context``, where `wrapper` is
    its first parameter, annotated with ``RunContextWrapper[ChatContext]``.

    A model that the client chose is resolved by the run config's ``model_provider``; a tool that it chose
    becomes the ``tool_choice``.
    """

    def __init__(
        self,
        agent: Agent[ChatContext],
        *,
        context: Callable[[Turn], ChatContext] = ChatContext,
        history: Callable[[Turn], Awaitable[list[TResponseInputItem]]] = input_items,
        run_config: RunConfig | None = None,
        hooks: RunHooks[ChatContext] | None = None,
        max_turns: int = _MAX_ROUNDS,
        show_tools: bool = True,
    ) -> None:
        """Wrap an agent.

        Args:
            agent: Where each run starts.
            context: Makes the run's context, for a subclass of `ChatContext` with more in it.
            history: Makes the run's input of the turn's history.
            run_config: For each run. By default one without tracing, which reports to OpenAI.
            hooks: Instead of `ToolHooks`, best a subclass of it.
            max_turns: Most requests to a model in one run.
            show_tools: Whether calls of tools are shown as tasks.
        """
        self._agent = agent
        self._context = context
        self._history = history
        self._run_config = run_config or RunConfig(tracing_disabled=True)
        self._hooks = hooks or ToolHooks()
        self._max_turns = max_turns
        self._show_tools = show_tools

    async def respond(self, turn: Turn) -> AsyncGenerator[ThreadStreamEvent]:
        """Run the agent on the turn's history. `turn.usage` is set as far as it is known.

        Raises:
            AgentError: The model failed, a guardrail tripped, or the run went on for too long; what was shown
                before has been yielded.
        """
        result = Runner.run_streamed(
            self._agent,
            await self._history(turn),
            context=self._context(turn),
            max_turns=self._max_turns,
            hooks=self._hooks,
            run_config=self._config(turn),
        )
        async with aclosing(stream_events(turn, result, show_tools=self._show_tools)) as events:
            async for event in events:
                yield event

    def _config(self, turn: Turn) -> RunConfig:
        config = self._run_config
        if turn.model is not None:
            config = dataclasses.replace(config, model=turn.model)
        if turn.tool_choice is not None:
            chosen = ModelSettings(tool_choice=turn.tool_choice)
            settings = config.model_settings.resolve(chosen) if config.model_settings else chosen
            config = dataclasses.replace(config, model_settings=settings)
        return config
