"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from bobbin_protocol.settings import (
    SECRET,
    SECRET_URL,
    BrokenSettings,
    mistyped,
    read_settings,
    settings_table,
    shown_settings,
)


class Example(Struct, frozen=True, kw_only=True):
    port: Annotated[int, Meta(ge=1, le=65535, description="Where to listen.")] = 8000
    api_token: Annotated[str, Meta(min_length=8, description="A secret", extra=SECRET)]
    mode: Literal["fast", "safe"] = "safe"
    quiet: bool = False
    wait_s: Annotated[float, Meta(gt=0)] = 1.5
    database: Annotated[str, Meta(extra=SECRET_URL)] = ""
    other_url: str = ""

    def check(self) -> None:
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
    assert table[3] == "| `API_TOKEN` | required | A secret (or `_FILE`) |"
    assert table[5] == "| `QUIET` | `false` |  |"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("12345678\n")
    assert read_settings(Example, {"API_TOKEN_FILE": str(file)}).api_token == "12345678"


def test_what_is_no_secret_comes_from_no_file(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("80")
    assert read_settings(Example, {"API_TOKEN": "12345678", "PORT_FILE": str(file)}).port == 8000


def test_a_secret_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("12345678")
    with pytest.raises(BrokenSettings, match="API_TOKEN and API_TOKEN_FILE are both set") as caught:
        read_settings(Example, {"API_TOKEN": "87654321", "API_TOKEN_FILE": str(file)})
    assert "8765" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read"), (b" \n", "is empty"), (b"hunter2", "token: "), (b"hunter2\xff", "no UTF-8")],
)
def test_a_file_of_no_use_is_named_without_what_it_holds(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BrokenSettings) as caught:
        read_settings(Example, {"API_TOKEN_FILE": str(file)})
    assert f"API_TOKEN_FILE={file}" in str(caught.value)
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_checks_are_named_together_with_the_rest() -> None:
    def check(settings: Example) -> None:
        raise OSError(f"cannot listen on {settings.wait_s}")

    with pytest.raises(BrokenSettings) as caught:
        read_settings(Example, {"PORT": "0", "API_TOKEN": "12345678"}, [check])
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["PORT='0':", "cannot"]


def test_what_follows_from_a_mistake_is_not_another() -> None:
    def check(settings: Example) -> None:
        raise ValueError(f"PORT={settings.port} is taken")

    with pytest.raises(BrokenSettings) as caught:
        read_settings(Example, {"PORT": "0", "API_TOKEN": "12345678"}, [check])
    assert len(str(caught.value).splitlines()) == 1


def test_settings_are_shown_without_secrets() -> None:
    settings = Example(
        api_token="12345678",
        database="postgresql://bobbin:p@ss/word@db.example/x?sslpassword=hidden",
        other_url="https://me:secret@example.org/keys?sig=secret",
    )
    shown = shown_settings(settings)
    assert list(shown) == ["PORT", "API_TOKEN", "MODE", "QUIET", "WAIT_S", "DATABASE", "OTHER_URL"]
    assert shown["PORT"] == 8000
    assert shown["API_TOKEN"] == "***"
    assert shown["DATABASE"] == "postgresql://bobbin:***@db.example/x?***"
    assert shown["OTHER_URL"] == "https://***@example.org/keys?***"
    assert list(shown_settings(settings, defaults=False)) == ["API_TOKEN", "DATABASE", "OTHER_URL"]


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://token@example.org/keys", "https://***@example.org/keys"),
        ("https://me:p@ss/word@example.org/keys", "https://***@example.org/keys"),
        ("https://token:@example.org/keys", "https://***@example.org/keys"),
        ("https://example.org/keys/@me", "https://example.org/keys/@me"),
        ("https://example.org:8443/keys", "https://example.org:8443/keys"),
        ("postgresql://bobbin@db.example/x", "postgresql://bobbin@db.example/x"),
        ("postgres://bobbin:secret@db.example/x", "postgres://bobbin:***@db.example/x"),
    ],
)
def test_urls_are_shown_without_what_gives_access(url: str, seen: str) -> None:
    assert shown_settings(Example(api_token="12345678", other_url=url))["OTHER_URL"] == seen


def test_a_secret_that_is_not_set_is_seen_to_be_empty() -> None:
    assert shown_settings(Example(api_token="12345678"))["DATABASE"] == ""


def test_a_name_that_is_almost_ours_is_noticed() -> None:
    environ = ["WAIT_S", "APITOKEN", "API_TOKEN_FILES", "PATH", "QUIETE", "DATABASE_FILE"]
    assert mistyped(Example, environ) == {
        "APITOKEN": "API_TOKEN",
        "API_TOKEN_FILES": "API_TOKEN_FILE",
        "QUIETE": "QUIET",
    }
