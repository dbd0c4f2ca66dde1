"""Agents of the OpenAI Agents SDK (package `openai-agents`) as agents of the gateway.

`AgentsSDKAgent` wraps an SDK agent; `stream_events` converts a run that you began yourself; `ChatContext` is
what the tools of a run are given to show more than text. Only this package imports the SDK, which comes with
the extra ``agents``.
"""

try:
    import agents as _sdk
except ModuleNotFoundError as error:
    if error.name != "agents":
        raise
    raise ModuleNotFoundError(
        "the OpenAI Agents SDK is not installed: install bobbin-gateway[agents]", name="agents"
    ) from error

from bobbin_gateway.agents_sdk.agent import AgentsSDKAgent
from bobbin_gateway.agents_sdk.context import ChatContext
from bobbin_gateway.agents_sdk.history import input_items
from bobbin_gateway.agents_sdk.hooks import ToolHooks
from bobbin_gateway.agents_sdk.stream import stream_events

__all__ = ["AgentsSDKAgent", "ChatContext", "ToolHooks", "input_items", "stream_events"]

del _sdk
