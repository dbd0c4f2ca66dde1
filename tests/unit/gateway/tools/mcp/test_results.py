"""Results as text: with real servers in test_server_tool.py; here what those do not send."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import types

from bobbin_gateway.tools.mcp.results import result_text

IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": []}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [{"type": "text", "text": "a"}], "structuredContent": {"b": 1}}, "a"),
        ({"content": [IMAGE], "structuredContent": {"b": 1}}, '[image: image/png, 3 bytes]\n{"b":1}'),
        ({"content": [{**IMAGE, "mimeType": "x\n\u202ey"}]}, "[image: x y, 3 bytes]"),
        (
            {"content": [{"type": "resource_link", "name": "n", "uri": "u", "size": 5}]},
            "[resource: n, u, 5 bytes]",
        ),
        ({"content": [{**IMAGE, "data": ""}]}, "[image: image/png, 0 bytes]"),
    ],
)
def test_results_as_text(result: dict[str, Any], text: str) -> None:
    assert result_text(types.CallToolResult.model_validate(result)) == text
