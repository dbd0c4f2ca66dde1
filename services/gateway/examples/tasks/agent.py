"""What ``GATEWAY_AGENT`` names: the built-in agent with tools for tasks, and handlers for their buttons."""

from __future__ import annotations

from bobbin_gateway.assistant import Assistant
from tasks.actions import TaskActions
from tasks.settings import open_store, settings
from tasks.tools import TaskTools

INSTRUCTIONS = (
    "You help the user with their tasks, by your tools. The user sees what the tools show: do not repeat it, "
    "say in a sentence what you did. Tasks are named by their numbers; look them up rather than guess. "
    "To complete or delete all tasks has to be confirmed by the user, with a button that the tool shows."
)

_settings = settings()
_store = open_store(_settings)
_actions = TaskActions(_store)

assistant = Assistant(
    # The gateway has the MCP server's tools in any case (MCP_CONFIG); the buttons are always handled here.
    tools=() if _settings.example_mcp else TaskTools(_store).all(),
    instructions=INSTRUCTIONS,
    on_action=_actions.on_action,
    on_sync_action=_actions.on_sync_action,
)
