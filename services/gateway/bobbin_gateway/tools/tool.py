"""What a tool is, whatever it is made of: a function here or in the page, a tool of an MCP server."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from bobbin_gateway.tools.context import ToolContext


class ToolCall(Struct, frozen=True):
    """A call as the model wrote it."""

    call_id: str
    """Ours if the provider gave none. Unique within the turn."""
    name: str
    arguments: str
    """Meant to be a JSON object; a model may write anything."""


class ToolResult(Struct, frozen=True):
    """What the model is told of a call."""

    call_id: str
    output: str
    failed: bool = False


class ToolError(Exception):
    """A tool could not do what it was asked to; the text is for the model, which may try otherwise."""


class ToolSpec(Struct, frozen=True, kw_only=True):
    """What the model, and the user, know of a tool."""

    name: str
    """1 to 64 letters, digits, ``_`` and ``-`` (what the model APIs allow)."""
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object."""
    title: str
    """What the user sees of a call."""


class Tool(Protocol):
    """A tool that runs on this side."""

    @property
    def spec(self) -> ToolSpec: ...

    @property
    def timeout_s(self) -> float | None:
        """Longest run of a call, in seconds; None: as the settings say."""
        ...

    async def call(self, context: ToolContext, arguments: str) -> str:
        """Do it; gives what the model is told.

        Raises:
            ToolError: With words for the model.
            Exception: A bug; the model is told no more than that the tool failed.
        """
        ...


class ClientTool(Struct, frozen=True, kw_only=True):
    """A function of the user's page: calling it ends the turn, its output begins the next one."""

    spec: ToolSpec
