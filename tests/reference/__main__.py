"""Starts the reference stack: ``python -m tests.reference --port N --database-url ... --model-url ...``.

Without a model its agent is that of `tests.scripted`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, set_tracing_disabled
from chatkit.actions import Action
from chatkit.agents import AgentContext, simple_to_agent_input, stream_agent_response
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.types import (
    SyncCustomActionResponse,
    ThreadMetadata,
    ThreadStatus,
    ThreadStreamEvent,
    UserMessageItem,
    WidgetItem,
)
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel, TypeAdapter

from bobbin_gateway.titles import title_by_rule
from bobbin_protocol.items import UserMessageItem as OurUserMessage
from tests import scripted
from tests.reference.store import PostgresStore, open_pool

INSTRUCTIONS = "You are a helpful assistant. Answer in Markdown."


class ReferenceServer(ChatKitServer[str]):
    """Answers with the Agents SDK, as the reference's guide does, and names threads as our gateway does."""

    def __init__(self, store: PostgresStore, model_url: str, model: str) -> None:
        super().__init__(store)
        client = AsyncOpenAI(base_url=model_url, api_key="reference", max_retries=0)
        self._model = model
        self._client = client

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: str
    ) -> AsyncIterator[ThreadStreamEvent]:
        items = await self.store.load_thread_items(thread.id, None, 200, "desc", context)
        history = await simple_to_agent_input(list(reversed(items.data)))
        model = (input_user_message and input_user_message.inference_options.model) or self._model
        agent = Agent[AgentContext[str]](
            name="assistant",
            instructions=INSTRUCTIONS,
            model=OpenAIResponsesModel(model=model, openai_client=self._client),
        )
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(agent, history, context=agent_context, run_config=RunConfig())
        try:
            async for event in stream_agent_response(agent_context, result):
                yield event
        finally:
            result.cancel()  # else a run whose reader has left waits for its model for ever
        if thread.title is None and input_user_message is not None:
            ours: dict[str, Any] = input_user_message.model_dump(mode="json", exclude_none=True)
            thread.title = title_by_rule(_convert(ours))


class ScriptedServer(ChatKitServer[str]):
    """Does what `tests.scripted` does for our gateway, and names threads as our gateway does."""

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: str
    ) -> AsyncIterator[ThreadStreamEvent]:
        items = await self.store.load_thread_items(thread.id, None, 200, "desc", context)
        message = None if input_user_message is None else _json(input_user_message)
        history = [_json(item) for item in reversed(items.data)]
        async for event in _typed(thread, scripted.steps_of_answer(thread.id, message, history)):
            yield event
        if thread.title is None and message is not None:
            thread.title = title_by_rule(_convert(message))

    async def action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: str
    ) -> AsyncIterator[ThreadStreamEvent]:
        widget = None if sender is None else _json(sender)
        async for event in _typed(thread, scripted.steps_of_reaction(thread.id, action.model_dump(), widget)):
            yield event

    async def sync_action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: str
    ) -> SyncCustomActionResponse:
        widget = None if sender is None else _json(sender)
        updated = scripted.updated_by_sync_action(action.model_dump(), widget)
        return SyncCustomActionResponse.model_validate({"updated_item": updated})


async def _typed(
    thread: ThreadMetadata, steps: Iterable[dict[str, Any] | float]
) -> AsyncIterator[ThreadStreamEvent]:
    for step in steps:
        if isinstance(step, int | float):
            await asyncio.sleep(step)
        elif "status" in step:
            thread.status = _STATUS.validate_python(step["status"])
        else:
            yield _EVENT.validate_python(step)


def _json(item: BaseModel) -> dict[str, Any]:
    return item.model_dump(mode="json", exclude_none=True)


_EVENT = TypeAdapter[ThreadStreamEvent](ThreadStreamEvent)
_STATUS = TypeAdapter[ThreadStatus](ThreadStatus)


def _convert(message: dict[str, Any]) -> OurUserMessage:
    import msgspec  # noqa: PLC0415 (only the title rule needs it)

    return msgspec.convert(message, OurUserMessage)


def create_app(database_url: str, model_url: str, model: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = await open_pool(database_url)
        store = PostgresStore(pool)
        await store.create_schema()
        app.state.server = ReferenceServer(store, model_url, model) if model_url else ScriptedServer(store)
        yield
        await pool.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/chatkit")
    async def chatkit(request: Request) -> Response:
        user_id = request.headers.get("x-user", "local")
        result = await app.state.server.process(await request.body(), user_id)
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(content=result.json, media_type="application/json")

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--model-url", default="", help="without one, the agent is tests.scripted")
    parser.add_argument("--model", default="demo")
    arguments = parser.parse_args()
    set_tracing_disabled(disabled=True)
    logging.getLogger("chatkit").setLevel(logging.ERROR)
    app = create_app(arguments.database_url, arguments.model_url, arguments.model)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
