"""The built-in agent with tools and words of your own: what ``GATEWAY_AGENT`` may name, besides an agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from bobbin_gateway.agent import Turn
from bobbin_gateway.tools.tool import ClientTool, Tool
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import WidgetItem
from bobbin_protocol.responses import SyncCustomActionResponse

ActionHandler: TypeAlias = Callable[[Turn, Action, WidgetItem | None], AsyncIterator[ThreadStreamEvent]]
SyncActionHandler: TypeAlias = Callable[
    [Turn, Action, WidgetItem | None], Awaitable[SyncCustomActionResponse]
]


class Assistant(Struct, frozen=True, kw_only=True):
    """Answers by a model, with these tools. What is not given here comes from the settings."""

    tools: Sequence[Tool | ClientTool] = ()
    instructions: str | None = None
    """In the place of ``INSTRUCTIONS``."""
    model: str | None = None
    """In the place of ``MODEL``."""
    provider_tools: Sequence[dict[str, Any]] = ()
    """Tools that run at the provider, in the words of its API, besides those of ``MODEL_TOOLS``."""
    on_action: ActionHandler | None = None
    """See `bobbin_gateway.agent.ActingAgent`."""
    on_sync_action: SyncActionHandler | None = None
    """See `bobbin_gateway.agent.SyncActingAgent`."""
