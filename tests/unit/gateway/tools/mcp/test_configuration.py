"""The file of MCP servers: what it may say, and how a mistake is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bobbin_gateway.tools.mcp.configuration import Address, McpServer, Program, read_configuration
from bobbin_protocol.settings import BrokenSettings
from tests.conftest import ROOT

ENVIRON = {"TOKEN": "s3cret-token", "HOST": "example.org", "EMPTY": "", "BAD": "s3cret\nline"}


def read(path: Path, *, environ: dict[str, str] = ENVIRON, **servers: Any) -> list[McpServer]:
    path.write_text(json.dumps({"mcpServers": servers}))
    return read_configuration(str(path), environ)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mcp.json"


def test_no_file_is_no_servers() -> None:
    assert read_configuration("", {}) == []


def test_a_server_that_is_started(path: Path) -> None:
    (server,) = read(path, files={"command": "npx", "args": ["-y", "server-files"], "env": {"ROOT": "/data"}})
    assert server == McpServer(
        name="files",
        prefix="files",
        title="files",
        transport=Program(command="npx", args=["-y", "server-files"], env={"ROOT": "/data"}, cwd=None),
        timeout_s=None,
        tools=None,
        trusted=False,
    )


def test_a_server_with_an_address_and_everything_else(path: Path) -> None:
    (server,) = read(
        path,
        **{
            "My Tasks": {
                "type": "http",
                "url": "https://example.org/mcp",
                "headers": {"X-Key": "1"},
                "title": "Tasks",
                "timeout_s": 5,
                "tools": ["list", "create"],
                "trusted": True,
            }
        },
    )
    assert server == McpServer(
        name="My Tasks",
        prefix="My_Tasks",
        title="Tasks",
        transport=Address(url="https://example.org/mcp", headers={"X-Key": "1"}),
        timeout_s=5.0,
        tools=frozenset({"list", "create"}),
        trusted=True,
    )


def test_the_file_in_the_readme_is_one(path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    path.write_text(example[1])
    assert [server.name for server in read_configuration(str(path), {"TASKS_TOKEN": "x"})] == [
        "files",
        "tasks",
    ]


def test_servers_keep_their_order(path: Path) -> None:
    servers = read(path, b={"command": "x"}, a={"command": "x"}, c={"command": "x"})
    assert [server.name for server in servers] == ["b", "a", "c"]


def test_variables_are_replaced_wherever_a_secret_may_be(path: Path) -> None:
    one, two = read(
        path,
        one={"command": "${HOME:-/root}/run", "args": ["--key=${TOKEN}"], "env": {"KEY": "${TOKEN}"}},
        two={
            "url": "https://${HOST}/${EMPTY:-mcp}?k=${TOKEN}",
            "headers": {"Authorization": "Bearer ${TOKEN}"},
        },
    )
    assert one.transport == Program(
        command="/root/run", args=["--key=s3cret-token"], env={"KEY": "s3cret-token"}, cwd=None
    )
    assert two.transport == Address(
        url="https://example.org/mcp?k=s3cret-token", headers={"Authorization": "Bearer s3cret-token"}
    )


def test_a_value_is_never_read_as_json_or_replaced_again(path: Path) -> None:
    (server,) = read(path, environ={"A": '"}, "x": "${B}', "B": "no"}, it={"command": "c", "args": ["${A}"]})
    assert isinstance(server.transport, Program)
    assert server.transport.args == ['"}, "x": "${B}']


MISTAKES = {
    "neither": ({}, "either a command or a url"),
    "both": ({"command": "x", "url": "http://h/"}, "either a command or a url"),
    "typo": ({"command": "x", "argz": []}, "unknown field `argz`"),
    "wrong type": ({"command": "x", "args": "y"}, "Expected `array | null`, got `str` - at `$.args`"),
    "empty command": ({"command": ""}, r"at `\$\.command`"),
    "headers of a command": ({"command": "x", "headers": {}}, "no headers"),
    "command by http": ({"command": "x", "type": "http"}, "its type is stdio"),
    "args of a url": ({"url": "http://h/", "args": []}, "no args"),
    "old transport": ({"url": "http://h/", "type": "sse"}, "Invalid enum value 'sse'"),
    "no url": ({"url": "h/mcp"}, "no http or https URL"),
    "other url": ({"url": "ftp://h/mcp"}, "no http or https URL"),
    "no time": ({"command": "x", "timeout_s": 0}, r"at `\$\.timeout_s`"),
    "unset variable": (
        {"command": "x", "env": {"A": "${NOWHERE}"}},
        "env.A needs .* NOWHERE, which is not set",
    ),
    "empty variable": ({"url": "http://${EMPTY}/"}, "url needs .* EMPTY, which is not set"),
    "header of two lines": ({"url": "http://h/", "headers": {"A": "${BAD}"}}, "headers.A is no HTTP header"),
    "name of a header": ({"url": "http://h/", "headers": {"A B": "x"}}, "is no HTTP header"),
    "name of a variable": ({"command": "x", "env": {"A=B": "x"}}, "no proper name"),
    "NUL": ({"command": "x", "args": ["a\0b"]}, "NUL"),
    "no object": (["x"], "Expected `object`, got `array`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_server_and_field(path: Path, mistake: str) -> None:
    entry, message = MISTAKES[mistake]
    with pytest.raises(BrokenSettings, match=message) as told:
        read(path, mine=entry)
    assert str(told.value).startswith(f"MCP_CONFIG={path}: server 'mine': ")
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("name", ["", "___", "ж", "x" * 25])
def test_a_server_needs_a_name_that_can_be_part_of_a_tools_name(path: Path, name: str) -> None:
    with pytest.raises(BrokenSettings, match="its name must have"):
        read(path, **{name: {"command": "x"}})


def test_two_names_must_not_become_one(path: Path) -> None:
    with pytest.raises(BrokenSettings, match=r"server 'my\.files': its name is too much like 'my files'"):
        read(path, **{"my files": {"command": "x"}, "my.files": {"command": "x"}})


def test_every_mistake_is_told_at_once(path: Path) -> None:
    with pytest.raises(BrokenSettings) as told:
        read(path, a={}, b={"command": "x"}, c={"url": "?"})
    assert [line.split(": ")[1] for line in str(told.value).splitlines()] == ["server 'a'", "server 'c'"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field `mcpServers`"),
        (b'{"mcpServers": {}, "servers": {}}', "unknown field `servers`"),
        (b'{"mcpServers": []}', "Expected `object`"),
        (b'{"mcpServers": {"a": {"command": "\xff"}}}', "MCP_CONFIG="),
    ],
)
def test_a_file_that_is_none_is_named(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BrokenSettings, match=message) as told:
        read_configuration(str(path), {})
    assert str(path) in str(told.value)


def test_a_file_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(BrokenSettings, match=r"mcp.json: No such file"):
        read_configuration(str(path), {})
