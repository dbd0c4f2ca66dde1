"""From what a server lists to what a model is offered: hostile lists cost no turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from mcp import types

from bobbin_gateway.tools.mcp.listing import (
    MAX_DESCRIPTION,
    MAX_SCHEMA_BYTES,
    MAX_TOOLS,
    Listing,
    listing,
)
from tests.mcp import by_stdio

OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def listed(*tools: dict[str, Any], **options: Any) -> Listing:
    """What becomes of tools as they come over the wire."""
    decoded = [types.Tool.model_validate_json(msgspec.json.encode(tool)) for tool in tools]
    return listing(by_stdio(**options), decoded)


def a_tool(name: str = "add", **fields: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT, **fields}


def test_a_schema_is_passed_through() -> None:
    schema = {**OBJECT, "additionalProperties": False, "$defs": {"x": {"type": "string"}}}
    assert listed(a_tool(inputSchema=schema)).offers[0].spec.parameters == schema


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"properties": {}}])
def test_what_openai_wants_in_a_schema_is_added(schema: dict[str, Any]) -> None:
    assert listed(a_tool(inputSchema=schema)).offers[0].spec.parameters == {
        "type": "object",
        "properties": {},
    }


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "string"}, "not that of an object"),
        ({"type": ["object", "null"]}, "not that of an object"),
        ({"type": "object", "properties": []}, "properties that are no object"),
        ({"type": "object", "description": "x" * MAX_SCHEMA_BYTES}, "larger than"),
    ],
)
def test_a_schema_that_a_model_api_would_refuse_is_left_out_alone(schema: dict[str, Any], why: str) -> None:
    found = listed(a_tool("good"), a_tool("bad", inputSchema=schema), a_tool("fine"))
    assert [offer.name for offer in found.offers] == ["good", "fine"]
    assert len(found.left_out) == 1
    assert why in found.left_out[0]


def test_a_schema_without_bottom_is_left_out() -> None:
    tool = types.Tool(name="deep", input_schema=deep(100_000))
    assert listing(by_stdio(), [tool]).left_out == ["deep: its input schema is no JSON that can be sent"]


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "It: Add all"),
        ({"annotations": {"title": "Adds"}}, "It: Adds"),
        ({"title": "Sum", "annotations": {"title": "Adds"}}, "It: Sum"),
        ({"title": "Su\u202em\n\x1b[1m"}, "It: Su m [1m"),
        ({"title": "x" * 1000}, f"It: {'x' * 95}…"),
    ],
)
def test_titles_are_for_people(fields: dict[str, Any], title: str) -> None:
    assert listed(a_tool("add_all", **fields)).offers[0].spec.title == title


def test_hostile_names_become_names_that_models_can_call() -> None:
    found = listed(a_tool("../../etc"), a_tool("add"), a_tool("add"), a_tool("x" * 100_000), a_tool("ж"))
    names = [offer.spec.name for offer in found.offers]
    assert len(names) == len(set(names)) == 4
    assert found.left_out == ["add: a second tool with this name"]
    assert [offer.name for offer in found.offers][:2] == ["../../etc", "add"], "the server hears its own"


def test_descriptions_and_lists_have_bounds() -> None:
    found = listed(*(a_tool(f"t{n}", description="x" * 10_000) for n in range(MAX_TOOLS + 2)))
    assert len(found.offers) == MAX_TOOLS
    assert len(found.left_out) == 2
    assert len(found.offers[0].spec.description) == MAX_DESCRIPTION


def test_the_order_is_the_servers() -> None:
    assert [offer.name for offer in listed(a_tool("b"), a_tool("a"), a_tool("c")).offers] == ["b", "a", "c"]
