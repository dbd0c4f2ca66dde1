"""What a run gets to see of a thread: its items as the SDK's input items."""

from __future__ import annotations

from typing import cast

from agents import TResponseInputItem

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent.history import model_input
from bobbin_gateway.openai_agent.media import loaded
from bobbin_gateway.openai_agent.prompt import Prompt, responses_input


async def input_items(
    turn: Turn, *, max_items: int = 200, max_tokens: int = 60_000
) -> list[TResponseInputItem]:
    """The end of the turn's history that fits the budget, as input of a run.

    It is what the built-in agent gives its model by the Responses API: messages with their attachments, calls
    of tools with their results, and notes of what was only shown.
    """
    entries = model_input(turn.history, max_items=max_items, max_tokens=max_tokens, with_calls=True)
    files = await loaded(entries, turn.files)
    items = responses_input(Prompt(model="", entries=entries, files=files))
    return cast("list[TResponseInputItem]", items)
