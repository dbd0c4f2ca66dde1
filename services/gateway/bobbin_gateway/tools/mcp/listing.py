"""The tools of a server as the model and the user see them; what no model could be given is left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from mcp import types
from msgspec import Struct

from bobbin_gateway.tools.mcp.configuration import McpServer
from bobbin_gateway.tools.mcp.names import one_line, tool_name
from bobbin_gateway.tools.tool import ToolSpec

MAX_TOOLS = 128
"""Most tools of one server; OpenAI's API takes no more altogether."""
MAX_DESCRIPTION = 4096
MAX_SCHEMA_BYTES = 65_536
_MAX_TITLE = 100


class Offer(Struct, frozen=True):
    """A tool on offer."""

    name: str
    """What the server calls it."""
    spec: ToolSpec


class Listing(Struct, frozen=True):
    """What became of a server's list."""

    offers: list[Offer]
    left_out: list[str]
    """Sentences for the log."""


def listing(server: McpServer, tools: Iterable[types.Tool]) -> Listing:
    """Take over the server's tools, in its order, so that the model's prompt stays the same (and cached)."""
    offers: dict[str, Offer] = {}
    left_out: list[str] = []
    for tool in tools:
        if server.tools is not None and tool.name not in server.tools:
            continue
        name = tool_name(server.prefix, tool.name)
        shown = one_line(tool.name, 80)
        try:
            parameters = _parameters(tool.input_schema)
        except ValueError as error:
            left_out.append(f"{shown}: {error}")
            continue
        if name in offers:
            left_out.append(f"{shown}: a second tool with this name")
        elif len(offers) == MAX_TOOLS:
            left_out.append(f"{shown}: more than {MAX_TOOLS} tools; choose some by `tools`")
        else:
            spec = ToolSpec(
                name=name,
                description=(tool.description or _own_title(tool))[:MAX_DESCRIPTION],
                parameters=parameters,
                title=one_line(f"{server.title}: {_own_title(tool)}", _MAX_TITLE),
            )
            offers[name] = Offer(tool.name, spec)
    return Listing(list(offers.values()), left_out)


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, passed through.

    Raises:
        ValueError: A request with it would be refused as a whole, and all answers with it.
    """
    if schema.get("type", "object") != "object":
        raise ValueError("its input schema is not that of an object")
    if not isinstance(schema.get("properties", {}), dict):
        raise ValueError("its input schema has properties that are no object")
    try:
        size = len(msgspec.json.encode(schema))
    except (RecursionError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise ValueError("its input schema is no JSON that can be sent") from error
    if size > MAX_SCHEMA_BYTES:
        raise ValueError(f"its input schema is larger than {MAX_SCHEMA_BYTES} bytes")
    # Without them OpenAI refuses the schema, though JSON Schema asks for neither.
    return {"type": "object", "properties": {}, **schema}


def _own_title(tool: types.Tool) -> str:
    """The tool's title in the order of preference that the protocol asks for, or its name as words."""
    title = tool.title or (tool.annotations.title if tool.annotations else None)
    return title or " ".join(tool.name.replace("_", " ").replace("-", " ").split()).capitalize()
