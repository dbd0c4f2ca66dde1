"""The built-in agent: any OpenAI-compatible model, in either dialect."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Literal, cast

import httpx2
import msgspec
import openai
from openai import AsyncOpenAI, AsyncStream

from bobbin_gateway.agent import Turn
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.chat import ChatCompletions
from bobbin_gateway.openai_agent.client import open_client
from bobbin_gateway.openai_agent.history import Message, model_input
from bobbin_gateway.openai_agent.responses import Responses
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_gateway.settings import Settings
from bobbin_gateway.titles import MAX_TITLE
from bobbin_protocol.events import ThreadStreamEvent

_JSON = {"Content-Type": "application/json"}
_TAIL_S = 1.0
"""How long a stream may go on after its answer's end. Usually its end comes with it; but a server may keep
it open."""
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
        read_timeout_s=max(settings.first_token_timeout_s, settings.silence_timeout_s) + _TAIL_S,
    )
    async with client:
        yield OpenAIAgent(
            client,
            model=settings.model,
            dialect=settings.model_api,
            instructions=settings.instructions,
            title_model=settings.title_model,
            history_items=settings.history_items,
            history_tokens=settings.history_tokens,
        )


class OpenAIAgent:
    """Answers by a model behind an OpenAI-compatible API, through the `openai` package.

    The package does authentication, retries and transport; the body is read raw (`ModelStream`), since an
    object of the package's own per token costs more than everything else. One client serves a whole process;
    whoever opened it closes it.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        *,
        model: str,
        dialect: Literal["responses", "chat"] = "responses",
        instructions: str = "",
        title_model: str = "",
        history_items: int = 200,
        history_tokens: int = 60_000,
    ) -> None:
        self._client = client
        self._dialect = Responses() if dialect == "responses" else ChatCompletions()
        self._model = model
        self._instructions = instructions
        self._title_model = title_model
        self._history_items = history_items
        self._history_tokens = history_tokens

    async def respond(self, turn: Turn) -> AsyncGenerator[ThreadStreamEvent]:
        """Stream the model's answer to the turn's history. `turn.usage` is set as far as it is known.

        Raises:
            AgentError: The model service failed; what it said before has been yielded.
        """
        messages = model_input(turn.history, max_items=self._history_items, max_tokens=self._history_tokens)
        answer = Answer(turn)
        stream = ModelStream(answer, self._dialect.reader(answer))
        try:
            async with self._stream(turn.model or self._model, messages) as chunks:
                async for chunk in chunks:
                    for event in stream.feed(chunk):
                        yield event
                    if answer.over:
                        break
                await _drain(chunks)
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
        text = "\n".join(message.text for message in model_input([turn.message], max_items=1, max_tokens=1))
        body = self._dialect.short_request(
            model=self._title_model, instructions=_TITLE_INSTRUCTIONS, text=text[:_TITLE_INPUT]
        )
        try:
            response = await self._client.post(
                self._dialect.path,
                cast_to=httpx2.Response,
                content=body,
                options={"headers": _JSON, "timeout": _TITLE_TIMEOUT_S, "max_retries": 0},
            )
            title = self._dialect.short_text(response.content)
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_exception(error) from error
        except msgspec.DecodeError as error:
            raise failures.unreadable(f"bad title: {error}") from error
        return _clean(title)

    @asynccontextmanager
    async def _stream(self, model: str, messages: Sequence[Message]) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The body of a streamed response. Leaving early closes the connection: the provider stops."""
        response = await self._post(model, messages)
        try:
            if "content-encoding" in response.headers:
                async with aclosing(response.aiter_bytes()) as chunks:
                    yield chunks
            else:
                # Two layers less for each chunk, and 6 KiB of headers less for the life of the stream.
                response.headers = response.request.headers = httpx2.Headers()
                yield aiter(cast("httpx2.AsyncByteStream", response.stream))
        finally:
            await response.aclose()

    async def _post(self, model: str, messages: Sequence[Message]) -> httpx2.Response:
        try:
            return await self._send(model, messages)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not self._dialect.adapt(f"{error} {error.body}"):
                raise
        return await self._send(model, messages)

    async def _send(self, model: str, messages: Sequence[Message]) -> httpx2.Response:
        response = await self._client.post(
            self._dialect.path,
            cast_to=httpx2.Response,
            content=self._dialect.request(model=model, instructions=self._instructions, messages=messages),
            options={"headers": _JSON},
            stream=True,
            stream_cls=AsyncStream[Any],
        )
        # Asked to cast to the bare response, the package gives that, unread, whatever its signature says.
        return cast("httpx2.Response", response)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can be used again; not for long."""
    with suppress(*failures.TRANSPORT_ERRORS):
        async with asyncio.timeout(_TAIL_S):
            async for _ in chunks:
                pass


def _clean(title: str) -> str | None:
    """One line, without the ornaments that models put around a title."""
    words = textwrap.shorten(title, MAX_TITLE, placeholder="…").strip("\"'`*#_“”„«»")
    return words.strip() or None
