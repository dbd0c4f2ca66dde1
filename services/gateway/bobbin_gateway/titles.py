"""Names for threads: the first words of the first message, or what a model makes of them."""

from __future__ import annotations

import re

import structlog

from bobbin_gateway.agent import AgentError, TitlingAgent, Turn
from bobbin_protocol.items import UserMessageItem

log = structlog.get_logger()

MAX_TITLE = 60
"""Characters; longer ones are cut at a word."""


def title_by_rule(message: UserMessageItem | None) -> str | None:
    """The first line that says something, cut at a word; None for a message without words."""
    if message is None:
        return None
    text = "".join(part.text for part in message.content)
    names = "\n".join(attachment.name for attachment in message.attachments)
    return _first_words(text + "\n" + names)


async def title_by_model(agent: TitlingAgent, turn: Turn) -> str | None:
    """What the agent's model calls the thread; the rule's title when it fails or has no idea."""
    try:
        title = await agent.title(turn)
    except AgentError as error:
        log.warning("no title by model", turn_id=turn.id, **error.logged)
        title = None
    return _first_words(title or "") or title_by_rule(turn.message)


def _first_words(text: str) -> str | None:
    for line in text.splitlines():
        words = _UNPRINTABLE.sub(" ", line).strip(" \t#*_>`-")
        if words:
            return _cut(" ".join(words.split()))
    return None


def _cut(text: str) -> str:
    if len(text) <= MAX_TITLE:
        return text
    head = text[: MAX_TITLE - 1]
    at_word = head.rpartition(" ")[0]
    return (at_word if len(at_word) > MAX_TITLE // 2 else head).rstrip(" ,.;:") + "…"


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
