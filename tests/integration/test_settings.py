"""The gateway's settings as its process takes them; the store's are in store/test_process.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.processes import Service, running
from tests.stack import STORE_TOKEN, Stack, gateway_service

AGENT = """
from openai import AsyncOpenAI

client = AsyncOpenAI()  # raises without a key


class Agent:
    async def respond(self, turn):
        yield client


agent = Agent()
"""


def refused_start(**environ: str) -> tuple[int, list[str]]:
    """The exit code and what was said of a start that must fail."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "bobbin_gateway"],
        env={**inherited, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def test_reasons_not_to_start_are_named_together_in_a_clear_line_each() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, lines = refused_start(
            GATEWAY_PORT=str(taken.getsockname()[1]),
            GATEWAY_AGENT="no.such:agent",
            STORE_TOKEN_FILE="/no/such/file",
            ATTACHMENTS_URL="https://ada:hunter2@example.org/",
            MCP_CONFIG="/no/such/config",
            JWT_SECRET="short",
        )
    assert code == 1
    assert all(line.startswith("bobbin-gateway: ") for line in lines)
    for word, line in zip(
        ["STORE_TOKEN_FILE", "JWT_SECRET", "GATEWAY_AGENT", "MCP_CONFIG", "ATTACHMENTS_URL", "GATEWAY_PORT"],
        lines,
        strict=True,
    ):
        assert word in line
    assert "hunter2" not in str(lines)


def test_an_agent_of_ones_own_finds_the_key_that_comes_from_a_file(stack: Stack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-from-a-file\n")
    (tmp_path / "agent_with_client.py").write_text(AGENT)
    gateway = gateway_service(
        stack.store,
        stack.model,
        OPENAI_API_KEY="",
        OPENAI_API_KEY_FILE=str(key),
        GATEWAY_AGENT="agent_with_client:agent",
        PYTHONPATH=str(tmp_path),
        LOG_FORMAT="json",
    )
    with running(gateway):
        shown = settings_of(gateway)
    assert (shown["OPENAI_API_KEY"], shown["STORE_TOKEN"]) == ("***", "***")
    assert shown["TURN_TIMEOUT_S"] == 120.0, "also those at their default"
    assert STORE_TOKEN not in gateway.log()


def settings_of(service: Service) -> dict[str, object]:
    """What it says of its settings."""
    (line,) = [line for line in map(json.loads, service.log().splitlines()) if line["event"] == "settings"]
    return line["settings"]
