"""The built-in agent: any OpenAI-compatible model, in either dialect."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import msgspec
import openai

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.background import BackgroundResponses
from bobbin_gateway.openai_agent.body import TAIL_S, drain, open_body
from bobbin_gateway.openai_agent.chat import ChatCompletions
from bobbin_gateway.openai_agent.client import JSON, ModelClient, open_client
from bobbin_gateway.openai_agent.history import model_input
from bobbin_gateway.openai_agent.prompt import Message, Prompt
from bobbin_gateway.openai_agent.responses import Responses
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_gateway.settings import Settings
from bobbin_gateway.titles import MAX_TITLE
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import ThreadItem

_TITLE_TIMEOUT_S = 20.0
_TITLE_INPUT = 2000
"""Characters of a first message that its title is made from."""
_TITLE_INSTRUCTIONS = (
    "Write a title for a conversation that starts with the user's message: at most six words, in the "
    "language of the message, as plain text without quotes or a full stop. Do not answer the message."
)


@asynccontextmanager
async def open_agent(settings: Settings) -> AsyncGenerator[OpenAIAgent]:
    """The built-in agent as the settings want it; leaving closes its connections."""
    client = open_client(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        # The engine's own limits come first; this one frees a connection that nobody watches.
        read_timeout_s=max(settings.first_token_timeout_s, settings.silence_timeout_s) + TAIL_S,
    )
    async with client:
        agent = OpenAIAgent(
            client,
            model=settings.model,
            dialect=_dialect(settings),
            instructions=settings.instructions,
            title_model=settings.title_model,
            history_items=settings.history_items,
            history_tokens=settings.history_tokens,
        )
        try:
            yield agent
        finally:
            await agent.close()


def _dialect(settings: Settings) -> Responses | ChatCompletions:
    if settings.model_api == "chat":
        return ChatCompletions()
    return Responses(in_background=settings.background)


class OpenAIAgent:
    """Answers by a model behind an OpenAI-compatible API, through the `openai` package.

    The package does authentication, retries and transport; the body is read raw (`ModelStream`), since an
    object of the package's own per token costs more than everything else. One client serves a whole process;
    whoever opened it closes it.

    In the background, an answer goes on at the provider when its connection is lost, and any other agent for
    the same service can `resume` it.
    """

    def __init__(
        self,
        client: ModelClient,
        *,
        model: str,
        dialect: Responses | ChatCompletions,
        instructions: str = "",
        title_model: str = "",
        history_items: int = 200,
        history_tokens: int = 60_000,
    ) -> None:
        self._client = client
        self._background = BackgroundResponses(client)
        self._dialect = dialect
        self._model = model
        self._instructions = instructions
        self._title_model = title_model
        self._history_items = history_items
        self._history_tokens = history_tokens

    async def close(self) -> None:
        """Wait until the provider has been told which answers nobody wants any more."""
        await self._background.close()

    def respond(self, turn: Turn) -> AsyncGenerator[ThreadStreamEvent]:
        """Stream the model's answer to the turn's history. `turn.usage` is set as far as it is known.

        Raises:
            AgentError: The model service failed; what it said before has been yielded.
        """
        entries = model_input(turn.history, max_items=self._history_items, max_tokens=self._history_tokens)
        prompt = Prompt(model=turn.model or self._model, instructions=self._instructions, entries=entries)
        if self._dialect.in_background:
            return self._background.respond(turn, partial(self._post, prompt))
        return self._respond(turn, prompt)

    def resume(
        self, turn: Turn, said: list[ThreadItem], checkpoint: bytes
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Go on with an answer that is made in the background, after the checkpoint.

        Raises:
            AgentError: The provider does not have it any more, or failed.
        """
        return self._background.resume(turn, said, checkpoint)

    async def abandon(self, checkpoint: bytes) -> None:
        """Tell the provider to stop an answer that is made in the background."""
        await self._background.abandon(checkpoint)

    async def _respond(self, turn: Turn, prompt: Prompt) -> AsyncGenerator[ThreadStreamEvent]:
        answer = Answer(turn)
        stream = ModelStream(answer, self._dialect.reader(answer))
        try:
            # Leaving early closes the connection: the provider stops.
            async with open_body(await self._post(prompt)) as chunks:
                async for chunk in chunks:
                    for events in stream.feed(chunk):
                        for event in events:
                            yield event
                    if answer.over:
                        break
                await drain(chunks)
            for event in stream.finish():
                yield event
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_exception(error) from error
        finally:
            turn.usage = answer.usage

    async def title(self, turn: Turn) -> str | None:
        """A title of one line for the thread, from its first message; None without a title model or words.

        Raises:
            AgentError: The model service failed.
        """
        if not self._title_model or turn.message is None:
            return None
        entries = model_input([turn.message], max_items=1, max_tokens=1)
        text = "\n".join(entry.text for entry in entries if isinstance(entry, Message))
        body = self._dialect.short_request(
            model=self._title_model, instructions=_TITLE_INSTRUCTIONS, text=text[:_TITLE_INPUT]
        )
        try:
            response = await self._client.post(
                self._dialect.path,
                cast_to=httpx2.Response,
                content=body,
                options={"headers": JSON, "timeout": _TITLE_TIMEOUT_S, "max_retries": 0},
            )
            title = self._dialect.short_text(response.content)
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_exception(error) from error
        except msgspec.DecodeError as error:
            raise failures.unreadable(f"bad title: {error}") from error
        return _clean(title)

    async def _post(self, prompt: Prompt) -> httpx2.Response:
        try:
            return await self._send(prompt)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not self._dialect.adapt(f"{error} {error.body}"):
                raise
        return await self._send(prompt)

    async def _send(self, prompt: Prompt) -> httpx2.Response:
        body = self._dialect.request(prompt)
        return await self._client.open_stream(self._dialect.path, body)


def _clean(title: str) -> str | None:
    """One line, without the ornaments that models put around a title."""
    words = textwrap.shorten(title, MAX_TITLE, placeholder="…").strip("\"'`*#_“”„«»")
    return words.strip() or None
