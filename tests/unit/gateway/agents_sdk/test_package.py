"""The adapter as a developer meets it: what to install, and how to begin."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from bobbin_gateway.agents_sdk import AgentsSDKAgent

_README = Path(__file__).parents[4] / "README.md"

_PROGRAM = """
import sys
sys.modules["agents"] = None  # as if it were not there
from bobbin_gateway.app import load_agent
try:
    load_agent("bobbin_gateway.agents_sdk:AgentsSDKAgent")
except ValueError as error:
    print(error)
"""


def test_a_missing_sdk_is_named_with_its_extra() -> None:
    told = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert "the OpenAI Agents SDK is not installed: install bobbin-gateway[agents]" in told.stdout


def test_the_agent_in_the_readme_can_be_made() -> None:
    [source] = re.findall(r"```py\n(.*?)```", _README.read_text(), re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "my_agent"}
    exec(compile(source, "my_agent.py", "exec"), namespace)
    assert isinstance(namespace["agent"], AgentsSDKAgent)
