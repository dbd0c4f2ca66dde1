"""The README tells the truth: its settings are the settings, its example is an agent."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bobbin_gateway.agent import Agent, Turn
from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_protocol.items import InferenceOptions, UserMessageItem, UserMessageTextContent
from bobbin_protocol.settings import settings_table
from bobbin_protocol.threads import ThreadMetadata
from bobbin_store.settings import Settings as StoreSettings
from tests.client import text_of

README = Path(__file__).parents[2] / "README.md"


def section(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- settings: {name} -->\n)(.*?)(?=<!-- /settings -->)", re.DOTALL)


@pytest.mark.parametrize(("name", "kind"), [("gateway", GatewaySettings), ("store", StoreSettings)])
def test_every_setting_is_in_the_readme(name: str, kind: type[msgspec.Struct]) -> None:
    """``UPDATE_README=1 make test T=tests/unit/test_readme.py`` writes the tables anew."""
    table = f"{settings_table(kind)}\n"
    if os.environ.get("UPDATE_README"):
        README.write_text(section(name).sub(lambda _: table, README.read_text(), count=1))
    written = section(name).search(README.read_text())
    assert written is not None
    assert written[1] == table


async def test_the_agent_in_the_readme_answers() -> None:
    source = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert source is not None
    namespace: dict[str, Any] = {"__name__": "my_agent"}
    exec(compile(source[1], "my_agent.py", "exec"), namespace)
    agent: Agent = namespace["agent"]
    turn = a_turn("Hello")
    events = [event async for event in agent.respond(turn)]
    assert [text_of(msgspec.to_builtins(event)["item"]) for event in events] == ["You said: Hello"]


def a_turn(text: str) -> Turn:
    now = datetime.now(UTC)
    message = UserMessageItem(
        id="msg_1",
        thread_id="thr_1",
        created_at=now,
        content=[UserMessageTextContent(text=text)],
        inference_options=InferenceOptions(),
    )
    return Turn(
        id="trn_1",
        owner_id="ada",
        thread=ThreadMetadata(id="thr_1", created_at=now),
        history=[message],
        message=message,
    )
