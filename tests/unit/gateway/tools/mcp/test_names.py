"""Whatever a server calls its tools, the model APIs take the names, and no two are the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.markdown import as_text
from bobbin_gateway.tools.mcp.names import MAX_PREFIX, one_line, server_prefix, tool_name

PREFIXES = st.text(min_size=1, max_size=MAX_PREFIX).map(server_prefix).filter(bool)


@pytest.mark.parametrize(
    ("prefix", "name", "fit"),
    [
        ("github", "create_issue", "github__create_issue"),
        ("a", "b__c", "a__b__c"),
        ("a", "x" * 61, f"a__{'x' * 61}"),
        ("a", "x" * 62, f"a__{'x' * 54}_21210f"),
        ("a", "get weather", "a__get_weather_dce387"),
        ("a", "get.weather", "a__get_weather_f65d43"),
        ("a", "", "a___e3b0c4"),
    ],
)
def test_names_for_models(prefix: str, name: str, fit: str) -> None:
    assert tool_name(prefix, name) == fit


@given(PREFIXES, st.text())
def test_every_name_is_one_that_model_apis_take(prefix: str, name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool_name(prefix, name))


@given(PREFIXES, PREFIXES, st.text(max_size=20), st.text(max_size=20))
def test_tools_of_two_servers_never_have_one_name(one: str, two: str, first: str, second: str) -> None:
    if one != two:
        assert tool_name(one, first) != tool_name(two, second)


@given(st.text(alphabet="ab_. "), st.text(alphabet="ab_. "))
def test_names_that_differ_stay_different(first: str, second: str) -> None:
    if first != second:
        assert tool_name("it", first) != tool_name("it", second)


@given(st.text(), st.integers(1, 50))
def test_a_line_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  two\n words ", "two words"),
        ("\u202eesrever", "esrever"),
        ("\x1b[31mred\x00", "[31mred"),
        ("x" * 30, f"{'x' * 19}…"),
        ("é ü 漢字 🙂", "é ü 漢字 🙂"),
    ],
)
def test_lines_are_clean(text: str, line: str) -> None:
    assert one_line(text, 20) == line


def test_words_of_a_server_are_no_markdown() -> None:
    assert as_text("![x](http://evil) <b>`*a*`</b>") == r"\!\[x\](http://evil) \<b\>\`\*a\*\`\</b\>"
