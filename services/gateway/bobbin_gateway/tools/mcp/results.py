"""What a server answers to a call, as text for the model."""

from __future__ import annotations

import msgspec
from mcp import types

from bobbin_gateway.tools.mcp.names import one_line


def result_text(result: types.CallToolResult) -> str:
    """All texts, with words in the place of what is no text; else the structured content as JSON.

    Servers that give structured content are asked to give it as text, too (MCP 2025-11-25, "Tools"), so it
    counts only if there is none.
    """
    parts = [_part(block) for block in result.content]
    if result.structured_content is not None and not any(_is_text(block) for block in result.content):
        parts.append(msgspec.json.encode(result.structured_content).decode())
    return "\n".join(part for part in parts if part)


def _is_text(block: types.ContentBlock) -> bool:
    return isinstance(block, types.TextContent) or (
        isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.TextResourceContents)
    )


def _part(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent():
            return _described("image", block.mime_type, size=_decoded_size(block.data))
        case types.AudioContent():
            return _described("audio", block.mime_type, size=_decoded_size(block.data))
        case types.ResourceLink():
            return _described("resource", block.name, block.uri, block.mime_type, size=block.size)
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return resource.text
        case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
            return _described("resource", resource.uri, resource.mime_type, size=_decoded_size(resource.blob))
        case _:
            return _described(block.type)


def _described(kind: str, *facts: str | None, size: int | None = None) -> str:
    known = [one_line(fact, 500) for fact in facts if fact]
    if size is not None:
        known.append(f"{size} bytes")
    return f"[{kind}: {', '.join(known)}]" if known else f"[{kind}]"


def _decoded_size(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4
