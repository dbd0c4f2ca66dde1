"""Settings from the environment."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from bobbin_protocol.settings import BrokenSettings, read_settings, settings_table


class Example(Struct, frozen=True, kw_only=True):
    port: Annotated[int, Meta(ge=1, le=65535, description="Where to listen.")] = 8000
    api_token: Annotated[str, Meta(min_length=8, description="A secret")]
    mode: Literal["fast", "safe"] = "safe"
    quiet: bool = False
    wait_s: Annotated[float, Meta(gt=0)] = 1.5

    def __post_init__(self) -> None:
        if self.quiet and self.mode == "fast":
            raise ValueError("QUIET=1 and MODE=fast exclude each other")


def test_values_are_converted_to_their_types() -> None:
    environ = {"PORT": " 80 ", "API_TOKEN": "12345678", "QUIET": "1", "WAIT_S": "2", "OTHER": "x"}
    assert read_settings(Example, environ) == Example(port=80, api_token="12345678", quiet=True, wait_s=2.0)


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings(Example, {"API_TOKEN": "12345678", "PORT": ""}).port == 8000


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(BrokenSettings) as caught:
        read_settings(Example, {"PORT": "0", "MODE": "wild", "WAIT_S": "soon"})
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0].split()[0] for line in lines] == ["PORT", "API_TOKEN", "MODE", "WAIT_S"]


def test_a_secret_is_not_repeated_in_the_message() -> None:
    with pytest.raises(BrokenSettings) as caught:
        read_settings(Example, {"API_TOKEN": "hunter2"})
    assert "API_TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_settings_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(BrokenSettings, match="exclude each other"):
        read_settings(Example, {"API_TOKEN": "12345678", "QUIET": "true", "MODE": "fast"})


def test_the_table_has_name_default_and_meaning() -> None:
    table = settings_table(Example).splitlines()
    assert table[2] == "| `PORT` | `8000` | Where to listen |"
    assert table[3] == "| `API_TOKEN` | required | A secret |"
    assert table[5] == "| `QUIET` | `false` |  |"
