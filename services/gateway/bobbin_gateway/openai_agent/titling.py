"""Names for threads, by a model."""

from __future__ import annotations

import textwrap

import httpx2
import msgspec

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.chat import ChatCompletions
from bobbin_gateway.openai_agent.client import JSON, ModelClient
from bobbin_gateway.openai_agent.history import model_input
from bobbin_gateway.openai_agent.prompt import Message
from bobbin_gateway.openai_agent.responses import Responses
from bobbin_gateway.openai_agent.spans import asking
from bobbin_gateway.titles import MAX_TITLE
from bobbin_protocol.items import UserMessageItem

_TIMEOUT_S = 20.0
_INPUT = 2000
"""Characters of a first message that its title is made from."""
_INSTRUCTIONS = (
    "Write a title for a conversation that starts with the user's message: at most six words, in the "
    "language of the message, as plain text without quotes or a full stop. Do not answer the message."
)


async def title(
    client: ModelClient, dialect: Responses | ChatCompletions, model: str, message: UserMessageItem
) -> str | None:
    """A title of one line for a thread that begins with this message; None if the model has no idea.

    Raises:
        AgentError: The model service failed.
    """
    entries = model_input([message], max_items=1, max_tokens=1)
    text = "\n".join(entry.text for entry in entries if isinstance(entry, Message))
    body = dialect.short_request(model=model, instructions=_INSTRUCTIONS, text=text[:_INPUT])
    try:
        with asking(client, model) as span, span.active():
            response = await client.post(
                dialect.path,
                cast_to=httpx2.Response,
                content=body,
                options={"headers": JSON, "timeout": _TIMEOUT_S, "max_retries": 0},
            )
        words = dialect.short_text(response.content)
    except failures.TRANSPORT_ERRORS as error:
        raise failures.from_exception(error) from error
    except msgspec.DecodeError as error:
        raise failures.unreadable(f"bad title: {error}") from error
    return _clean(words)


def _clean(words: str) -> str | None:
    """One line, without the ornaments that models put around a title."""
    line = textwrap.shorten(words, MAX_TITLE, placeholder="…").strip("\"'`*#_“”„«»")
    return line.strip() or None
