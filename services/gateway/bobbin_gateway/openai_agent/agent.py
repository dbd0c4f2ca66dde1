"""The built-in agent: any OpenAI-compatible model, in either dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TypeAlias

import httpx2
import openai
from msgspec.structs import replace

from bobbin_gateway.agent import AgentError, Files, Turn
from bobbin_gateway.assistant import Assistant
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.acting import Acting
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.background import BackgroundResponses, acting_checkpoint, reader_at
from bobbin_gateway.openai_agent.body import TAIL_S, drain, open_body
from bobbin_gateway.openai_agent.chat import ChatCompletions
from bobbin_gateway.openai_agent.client import ModelClient, open_client
from bobbin_gateway.openai_agent.history import model_input
from bobbin_gateway.openai_agent.media import loaded, published
from bobbin_gateway.openai_agent.prompt import Prompt
from bobbin_gateway.openai_agent.responses import Responses
from bobbin_gateway.openai_agent.resumable import ResumableReader
from bobbin_gateway.openai_agent.spans import asking, count_tokens
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_gateway.openai_agent.titling import title
from bobbin_gateway.openai_agent.transcription import transcribe
from bobbin_gateway.settings import Settings
from bobbin_gateway.tools.running import Limits
from bobbin_gateway.tools.tool import ClientTool, Tool
from bobbin_gateway.tools.toolbox import Toolbox, ToolSource, shown_title, specs
from bobbin_protocol.actions import Action
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import ThreadItem, UserMessageItem, WidgetItem
from bobbin_protocol.requests import AudioInput
from bobbin_protocol.responses import SyncCustomActionResponse
from bobbin_telemetry import tracing

Tools: TypeAlias = Mapping[str, Tool | ClientTool]

_PART_OF_SILENCE = 0.9


@asynccontextmanager
async def open_agent(
    settings: Settings, assistant: Assistant, sources: Sequence[ToolSource] = ()
) -> AsyncGenerator[OpenAIAgent]:
    """The built-in agent as settings and assistant want it; leaving closes its connections.

    Args:
        settings: The gateway's.
        assistant: What a developer adds.
        sources: Of further tools.
    """
    client = open_client(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        # The engine's own limits come first; this one frees a connection that nobody watches.
        read_timeout_s=max(settings.first_token_timeout_s, settings.silence_timeout_s) + TAIL_S,
    )
    async with client:
        agent = OpenAIAgent(client, settings, assistant, Toolbox(assistant.tools, sources))
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
        self, client: ModelClient, settings: Settings, assistant: Assistant, toolbox: Toolbox
    ) -> None:
        self._client = client
        self._settings = settings
        self._assistant = assistant
        self._toolbox = toolbox
        self._background = BackgroundResponses(client)
        self._dialect = _dialect(settings)
        self._limits = Limits(
            # A call that nothing is heard of would else be taken for an agent that nothing is heard of.
            timeout_s=min(settings.tool_timeout_s, settings.silence_timeout_s * _PART_OF_SILENCE),
            output_bytes=settings.tool_output_bytes,
        )

    async def close(self) -> None:
        """Wait until the provider has been told which answers nobody wants any more."""
        await self._background.close()

    def respond(self, turn: Turn) -> AsyncGenerator[ThreadStreamEvent]:
        """Stream the model's answer to the turn's history. `turn.usage` is set as far as it is known.

        Raises:
            AgentError: The model service failed; what it said before has been yielded.
        """
        tools = self._toolbox.tools()
        entries = model_input(
            turn.history,
            max_items=self._settings.history_items,
            max_tokens=self._settings.history_tokens,
            with_calls=bool(tools),
        )
        prompt = replace(self._prompt(turn, tools), entries=entries, tool_choice=turn.tool_choice)
        if self._dialect.in_background:
            return self._respond_in_background(turn, tools, prompt)
        return self._respond(turn, tools, prompt)

    async def resume(
        self, turn: Turn, said: list[ThreadItem], checkpoint: bytes
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Go on with an answer that is made in the background, after the checkpoint.

        Raises:
            AgentError: The provider does not have it any more, or failed.
        """
        tools = self._toolbox.tools()
        reader = reader_at(turn, said, checkpoint, partial(shown_title, tools))
        turn.checkpoint = checkpoint
        async with aclosing(_whole(self._background.resume(turn, reader), turn, reader.answer)) as events:
            async for event in events:
                yield event
        # The history stayed with the process that died; but the provider knows it.
        prompt = replace(self._prompt(turn, tools), goes_on_from=reader.response_id)
        async with aclosing(self._go_on_in_background(turn, tools, reader.answer, prompt)) as events:
            async for event in events:
                yield event

    async def abandon(self, checkpoint: bytes) -> None:
        """Tell the provider to stop an answer that is made in the background."""
        await self._background.abandon(checkpoint)

    def _prompt(self, turn: Turn, tools: Tools) -> Prompt:
        assistant, settings = self._assistant, self._settings
        return Prompt(
            model=turn.model or self._chosen_before(turn) or assistant.model or settings.model,
            instructions=settings.instructions if assistant.instructions is None else assistant.instructions,
            entries=[],
            tools=specs(tools),
            provider_tools=[*settings.provider_tools, *assistant.provider_tools],
            options=settings.request_options,
        )

    def _chosen_before(self, turn: Turn) -> str | None:
        """The model that the user chose with the message that is answered again, or gone on from."""
        messages = (item for item in reversed(turn.history) if isinstance(item, UserMessageItem))
        chosen = next((message.inference_options.model for message in messages), None)
        return chosen if chosen is not None and self._settings.offers_model(chosen) else None

    async def _respond(self, turn: Turn, tools: Tools, prompt: Prompt) -> AsyncGenerator[ThreadStreamEvent]:
        answer = Answer(turn, partial(shown_title, tools))
        acting = self._acting(turn, tools)
        files = turn.files
        asked: Prompt | None = await _with_files(prompt, files)
        try:
            while asked is not None:
                stream, before = ModelStream(answer, self._dialect.reader(answer)), answer.usage
                with asking(self._client, asked.model) as span:
                    # Leaving early closes the connection: the provider stops.
                    async with open_body(await self._post(asked, span), answer.is_flowing) as chunks:
                        async for chunk in chunks:
                            for events in stream.feed(chunk):
                                acting.note(events)
                                shown = await published(events, files) if answer.has_images else events
                                for event in shown:
                                    yield event
                            if answer.over:
                                break
                        await drain(chunks)
                    for event in stream.finish():
                        acting.note([event])
                        [last] = await published([event], files)
                        yield last
                    count_tokens(span, answer, before)
                async with aclosing(acting.run(answer, asked)) as events:
                    async for event in events:
                        yield event
                asked = acting.next
        except failures.TRANSPORT_ERRORS as error:
            for event in await published(answer.break_off(), files):
                yield event
            raise failures.from_exception(error) from error
        finally:
            turn.usage = answer.usage

    async def _respond_in_background(
        self, turn: Turn, tools: Tools, prompt: Prompt
    ) -> AsyncGenerator[ThreadStreamEvent]:
        answer = Answer(turn, partial(shown_title, tools))
        prompt = await _with_files(prompt, turn.files)
        async with aclosing(self._go_on_in_background(turn, tools, answer, prompt, asked=True)) as events:
            async for event in events:
                yield event

    async def _go_on_in_background(
        self, turn: Turn, tools: Tools, answer: Answer, prompt: Prompt, *, asked: bool = False
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Ask (if `asked`), run the calls, and so on. While tools run nobody else can go on with the turn."""
        acting = self._acting(turn, tools)
        while True:
            if asked:
                reader, before = ResumableReader(answer), answer.usage
                with asking(self._client, prompt.model) as span:
                    said = self._background.respond(turn, reader, partial(self._post, prompt, span))
                    async with aclosing(_whole(said, turn, answer)) as events:
                        async for event in events:
                            acting.note([event])
                            yield event
                    count_tokens(span, answer, before)
            async with aclosing(acting.run(answer, prompt)) as events:
                async for event in events:
                    turn.checkpoint = acting_checkpoint()
                    yield event
            if acting.next is None:
                return
            prompt, asked = acting.next, True

    def _acting(self, turn: Turn, tools: Tools) -> Acting:
        return Acting(turn, tools, self._limits, self._settings.tool_rounds)

    async def on_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> AsyncGenerator[ThreadStreamEvent]:
        """Leave an action to the assistant's handler.

        Raises:
            AgentError: It has none.
        """
        if self._assistant.on_action is None:
            raise AgentError("This assistant handles no actions.", allow_retry=False)
        async for event in self._assistant.on_action(turn, action, sender):
            yield event

    async def on_sync_action(
        self, turn: Turn, action: Action, sender: WidgetItem | None
    ) -> SyncCustomActionResponse:
        """Leave an action to the assistant's handler.

        Raises:
            AgentError: It has none.
        """
        if self._assistant.on_sync_action is None:
            raise AgentError("This assistant handles no actions.", allow_retry=False)
        return await self._assistant.on_sync_action(turn, action, sender)

    async def transcribe(self, owner_id: str, audio: AudioInput) -> str:
        """What is said in a recording, by ``TRANSCRIBE_MODEL``.

        Raises:
            AgentError: It cannot be transcribed.
        """
        del owner_id
        return await transcribe(self._client, self._settings.transcribe_model, audio)

    async def title(self, turn: Turn) -> str | None:
        """A title of one line for the thread, from its first message; None without a title model or words.

        Raises:
            AgentError: The model service failed.
        """
        if not self._settings.title_model or turn.message is None:
            return None
        return await title(self._client, self._dialect, self._settings.title_model, turn.message)

    async def _post(self, prompt: Prompt, span: tracing.Span) -> httpx2.Response:
        with span.active():
            try:
                return await self._send(prompt)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._dialect.adapt(f"{error} {error.body}"):
                    raise
            return await self._send(prompt)

    async def _send(self, prompt: Prompt) -> httpx2.Response:
        body = self._dialect.request(prompt)
        return await self._client.open_stream(self._dialect.path, body)


async def _whole(
    said: AsyncGenerator[ThreadStreamEvent], turn: Turn, answer: Answer
) -> AsyncGenerator[ThreadStreamEvent]:
    """What is said, with images where they can be kept; if it breaks off, with nothing left open."""
    try:
        async with aclosing(said):
            async for event in said:
                [shown] = await published([event], turn.files)
                yield shown
    except AgentError:
        for event in await published(answer.break_off(), turn.files):
            yield event
        raise


async def _with_files(prompt: Prompt, files: Files | None) -> Prompt:
    found = await loaded(prompt.entries, files)
    return replace(prompt, files=found) if found else prompt
