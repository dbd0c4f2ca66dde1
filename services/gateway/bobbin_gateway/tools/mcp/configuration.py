"""Which MCP servers there are: the JSON file with ``mcpServers`` that MCP clients share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from bobbin_gateway.tools.mcp.names import MAX_PREFIX, server_prefix
from bobbin_protocol.settings import BrokenSettings


class Program(Struct, frozen=True, kw_only=True):
    """A server that we start ourselves and talk to over its standard input and output."""

    command: str
    args: list[str]
    env: dict[str, str]
    """Added to the few variables that every such program gets (PATH, HOME ...); ours stay with us."""
    cwd: str | None


class Address(Struct, frozen=True, kw_only=True):
    """A server that runs somewhere and speaks streamable HTTP. URL and headers may hold secrets."""

    url: str
    headers: dict[str, str]


class McpServer(Struct, frozen=True, kw_only=True):
    """One server of the file."""

    name: str
    prefix: str
    """The name as part of a tool's name."""
    title: str
    """What the user sees."""
    transport: Program | Address
    timeout_s: float | None
    """Longest call, in seconds; None: as the settings say for all tools."""
    tools: frozenset[str] | None
    """The only tools, by the server's names, that are offered; None: all."""
    trusted: bool
    """Whether it is told whose turn a call belongs to, and may show widgets."""


def read_configuration(path: str, environ: Mapping[str, str]) -> list[McpServer]:
    """The servers of a file, in its order; none if there is no path.

    ``${NAME}`` and ``${NAME:-default}`` in commands, arguments, variables, URLs and headers are replaced from
    `environ`, so that secrets need not stand in the file.

    Raises:
        BrokenSettings: The file cannot be used; each line says what is wrong where, and shows no value.
    """
    if not path:
        return []
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=_File).mcp_servers
    except OSError as error:
        raise BrokenSettings(f"MCP_CONFIG={path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenSettings(f"MCP_CONFIG={path}: {error}") from error
    servers: dict[str, McpServer] = {}
    mistakes: list[str] = []
    for name, entry in entries.items():
        try:
            server = _server(name, msgspec.json.decode(entry, type=_Entry), environ)
        except ValueError as error:  # msgspec's are such, too
            mistakes.append(f"MCP_CONFIG={path}: server {name!r}: {error}")
            continue
        if servers.setdefault(server.prefix, server) is not server:
            other = servers[server.prefix].name
            mistakes.append(f"MCP_CONFIG={path}: server {name!r}: its name is too much like {other!r}")
    if mistakes:
        raise BrokenSettings("\n".join(mistakes))
    return list(servers.values())


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    mcp_servers: dict[str, msgspec.Raw] = msgspec.field(name="mcpServers")


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["stdio", "http", "streamable-http"] | None = None
    """Some clients want it; what is needed can be told from the rest."""
    command: Annotated[str, Meta(min_length=1)] | None = None
    args: list[str] | None = None
    env: dict[str, str] | None = None
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] | None = None
    title: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    tools: list[str] | None = None
    trusted: bool = False


def _server(name: str, entry: _Entry, environ: Mapping[str, str]) -> McpServer:
    prefix = server_prefix(name)
    if not prefix or len(prefix) > MAX_PREFIX:
        raise ValueError(f"its name must have 1 to {MAX_PREFIX} letters, digits, '-' or '_'")
    if (entry.command is None) == (entry.url is None):
        raise ValueError("it needs either a command or a url")
    return McpServer(
        name=name,
        prefix=prefix,
        title=entry.title or name,
        transport=_program(entry, environ) if entry.url is None else _address(entry, environ),
        timeout_s=entry.timeout_s,
        tools=None if entry.tools is None else frozenset(entry.tools),
        trusted=entry.trusted,
    )


def _program(entry: _Entry, environ: Mapping[str, str]) -> Program:
    if entry.headers is not None or entry.type not in (None, "stdio"):
        raise ValueError("a command has no headers, and its type is stdio")
    program = Program(
        command=_filled(entry.command or "", "command", environ),
        args=[_filled(text, f"args[{place}]", environ) for place, text in enumerate(entry.args or [])],
        env={name: _filled(text, f"env.{name}", environ) for name, text in (entry.env or {}).items()},
        cwd=None if entry.cwd is None else _filled(entry.cwd, "cwd", environ),
    )
    if any("\0" in text for text in [program.command, *program.args, *program.env, *program.env.values()]):
        raise ValueError("there is a NUL character in its command, args or env")
    if any(not name or "=" in name for name in program.env):
        raise ValueError("a variable in env has no proper name")
    return program


def _address(entry: _Entry, environ: Mapping[str, str]) -> Address:
    if entry.args is not None or entry.env is not None or entry.cwd is not None or entry.type == "stdio":
        raise ValueError("a url has no args, env or cwd, and its type is http")
    url = _filled(entry.url or "", "url", environ)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError("its url is no http or https URL")
    headers: dict[str, str] = {}
    for name, text in (entry.headers or {}).items():
        # Said here, because what says it later, the HTTP client, quotes the secret.
        headers[name] = _filled(text, f"headers.{name}", environ).strip()
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(headers[name]):
            raise ValueError(f"headers.{name} is no HTTP header of printable ASCII characters")
    return Address(url=url, headers=headers)


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _filled(text: str, field: str, environ: Mapping[str, str]) -> str:
    """The text with its variables replaced; one that is empty counts as unset, as with our settings."""

    def value(found: re.Match[str]) -> str:
        name, default = found.groups()
        known = environ.get(name) or default
        if known is None:
            raise ValueError(f"{field} needs the environment variable {name}, which is not set")
        return known

    return _VARIABLE.sub(value, text)
