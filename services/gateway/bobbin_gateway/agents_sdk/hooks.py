"""Shows calls of tools as done at the moment they are, not when the last of their round is."""

from __future__ import annotations

from typing import Any

from agents import Agent, RunContextWrapper, RunHooks, Tool
from agents.tool_context import ToolContext

from bobbin_gateway.agents_sdk.context import ChatContext


class ToolHooks(RunHooks[ChatContext]):
    """Hooks of a run (``Runner.run_streamed(hooks=...)``); without them its tools are done when all are."""

    async def on_tool_end(
        self, context: RunContextWrapper[ChatContext], agent: Agent[ChatContext], tool: Tool, result: Any
    ) -> None:
        del agent, tool, result
        if isinstance(context, ToolContext):
            call_id = context.tool_call_id
            await context.context.show(lambda output: output.end_call(call_id))
