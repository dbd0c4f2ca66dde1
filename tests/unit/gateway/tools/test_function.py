"""Functions as tools: what the model is told of them, and what reaches them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, cast

import pytest
from msgspec import Meta, Struct

from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import FunctionTool, tool
from bobbin_gateway.tools.tool import ToolError

NO_CONTEXT = cast("ToolContext", object())


class Place(Struct):
    city: str
    country: str = "NO"


@tool
async def forecast(  # noqa: D417 (not all are described)
    context: ToolContext,
    place: Place,
    days: Annotated[int, Meta(ge=1, le=14)] = 3,
    unit: Literal["C", "F"] = "C",
) -> dict[str, Any]:
    """Forecast the weather.

    Good for two weeks.

    Args:
        place: Where, as precisely as the user
            said it.
        days (int): How far ahead.

    Returns:
        One line a day.
    """
    return {"who": context is NO_CONTEXT, "place": place, "days": days, "unit": unit}


def test_the_model_is_told_what_the_function_says_of_itself() -> None:
    spec = forecast.spec
    assert (spec.name, spec.title) == ("forecast", "Forecast")
    assert spec.description == "Forecast the weather.\n\nGood for two weeks."
    properties = spec.parameters["properties"]
    assert "context" not in properties
    assert properties["place"]["description"] == "Where, as precisely as the user said it."
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 14,
        "description": "How far ahead.",
        "default": 3,
    }
    assert properties["unit"]["enum"] == ["C", "F"]
    assert spec.parameters["required"] == ["place"]
    assert spec.parameters["additionalProperties"] is False
    assert spec.parameters["$defs"]["Place"]["required"] == ["city"]
    json.dumps(spec.parameters)


async def test_arguments_arrive_typed_and_the_result_goes_back_as_json() -> None:
    told = await forecast.call(NO_CONTEXT, '{"place": {"city": "Oslo"}, "days": "2"}')
    assert json.loads(told) == {
        "who": True,
        "place": {"city": "Oslo", "country": "NO"},
        "days": 2,
        "unit": "C",
    }


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("", "place"),
        ("not JSON", "malformed"),
        ("[1]", "object"),
        ("null", "object"),
        ('{"place": {"city": "Oslo"}, "days": 99}', "days"),
        ('{"place": {"city": "Oslo"}, "colour": 1}', "colour"),
        ('{"place": {"city": "Oslo"}, "unit": "K"}', "unit"),
        ('{"place": {"city": "\ud800"}}', ""),
        ("[" * 100_000, ""),
    ],
)
async def test_arguments_that_do_not_fit_are_named_to_the_model(arguments: str, wrong: str) -> None:
    with pytest.raises(ToolError, match=f"do not fit.*{wrong}"):
        await forecast.call(NO_CONTEXT, arguments)


async def test_text_goes_back_as_it_is_and_a_function_may_take_nothing() -> None:
    @tool(name="say-hi", title="Say hello", description="Greet.", timeout_s=1)
    async def hi() -> str:
        return 'Hello "you"'

    assert (hi.spec.name, hi.spec.title, hi.spec.description, hi.timeout_s) == (
        "say-hi",
        "Say hello",
        "Greet.",
        1,
    )
    assert hi.spec.parameters["properties"] == {}
    assert await hi.call(NO_CONTEXT, "") == 'Hello "you"'


async def test_a_default_that_can_change_is_a_new_one_for_each_call() -> None:
    @tool
    async def collect(words: list[str] = ["a"]) -> list[str]:  # noqa: B006 (the point of the test)
        """Collect."""
        words.append("b")
        return words

    assert [await collect.call(NO_CONTEXT, "{}") for _ in range(2)] == ['["a","b"]'] * 2


def test_what_is_no_tool_is_refused_when_it_is_made() -> None:
    def sync() -> None: ...

    async def untyped(a) -> None: ...  # noqa: ANN001 (the point of the test)

    async def positional(*a: int) -> None: ...

    async def fine() -> None: ...

    for function, why in [
        (sync, "no async"),
        (untyped, "'a' has no type"),
        (positional, "'a' cannot be given"),
    ]:
        with pytest.raises(TypeError, match=why):
            FunctionTool(cast("Any", function))
    with pytest.raises(ValueError, match="letters"):
        FunctionTool(fine, name="no good")
