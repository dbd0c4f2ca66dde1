"""The composition root: everything the gateway needs is opened here, and closed in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import cast

import structlog
from litestar import Litestar
from litestar.config.cors import CORSConfig
from msgspec.structs import replace

from bobbin_gateway import metrics
from bobbin_gateway.abilities import Abilities, abilities_of
from bobbin_gateway.agent import Agent
from bobbin_gateway.assistant import Assistant
from bobbin_gateway.auth import authenticator
from bobbin_gateway.files.attachments import Attachments
from bobbin_gateway.files.blobs import open_blobs
from bobbin_gateway.files.sweeping import Sweeper
from bobbin_gateway.gateway import Gateway
from bobbin_gateway.http.chatkit import chatkit
from bobbin_gateway.http.feeds import owner_events, thread_events
from bobbin_gateway.http.files import ROUTES as FILES
from bobbin_gateway.http.health import live, ready
from bobbin_gateway.http.problems import problem_response
from bobbin_gateway.http.turns import cancel_turn, turn_events
from bobbin_gateway.listening import limit_unacknowledged
from bobbin_gateway.openai_agent.agent import open_agent
from bobbin_gateway.sampling import sample
from bobbin_gateway.settings import Settings, names
from bobbin_gateway.shutdown import finishing_first
from bobbin_gateway.store import open_store
from bobbin_gateway.tools.mcp.configuration import read_configuration
from bobbin_gateway.tools.mcp.servers import open_mcp
from bobbin_gateway.turns.beginning import Beginnings
from bobbin_gateway.turns.engine import TurnEngine
from bobbin_telemetry.requests import REQUEST_ID_HEADER

log = structlog.get_logger()


def create_app(settings: Settings) -> Litestar:
    """The gateway as an ASGI application."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                open_store(settings.store_url, settings.store_token, settings.store_timeout_s)
            )
            abilities = await _open_agent(settings, stack)
            blobs = open_blobs(settings.attachments_url, settings.data_dir)
            attachments, sweeper = Attachments(store, blobs, settings), Sweeper(store, blobs, settings)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            engine = TurnEngine(
                abilities=abilities, store=store, settings=settings, tasks=tasks, files_of=attachments.of
            )
            await engine.lease.renew()
            going = tasks.create_task(_keep_up(engine), name="engine")
            stack.callback(going.cancel)
            sweeping = tasks.create_task(sweeper.run(), name="sweeper")
            stack.callback(sweeping.cancel)
            limiting = limit_unacknowledged(settings.gateway_port, settings.send_timeout_s)
            listening = tasks.create_task(limiting, name="listening")
            stack.callback(listening.cancel)
            stack.push_async_callback(engine.close)
            stack.enter_context(finishing_first(engine, tasks))
            gateway = Gateway(
                settings=settings,
                store=store,
                abilities=abilities,
                engine=engine,
                beginnings=Beginnings(engine, store, settings),
                attachments=attachments,
                sweeper=sweeper,
                authenticator=authenticator(settings),
                listening=listening,
            )
            app.state["gateway"] = gateway
            measuring = tasks.create_task(metrics.WORKER.keep(partial(sample, gateway)), name="metrics")
            stack.callback(measuring.cancel)
            yield

    return Litestar(
        [chatkit, turn_events, cancel_turn, owner_events, thread_events, *FILES, live, ready],
        lifespan=[lifespan],
        exception_handlers={Exception: problem_response},
        cors_config=_cors(settings),
        request_max_body_size=None,  # http.chatkit counts for itself
        openapi_config=None,
        logging_config=None,
    )


async def _keep_up(engine: TurnEngine) -> None:
    """Run what all turns need. Without it the process is of no use: it stops, and is started again."""
    try:
        await engine.run()
    except Exception:
        log.exception("the gateway cannot go on")
        signal.raise_signal(signal.SIGTERM)


def _cors(settings: Settings) -> CORSConfig | None:
    """Let pages of the allowed origins read our answers; without any there is nothing to do per request."""
    origins = names(settings.allowed_origins)
    if not origins:
        return None
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT"],
        allow_headers=["*"],
        allow_credentials=True,
        expose_headers=["ChatKit-Turn-Id", "Retry-After", REQUEST_ID_HEADER],
    )


async def _open_agent(settings: Settings, stack: AsyncExitStack) -> Abilities:
    agent = load_agent(settings.gateway_agent) if settings.gateway_agent else Assistant()
    if not isinstance(agent, Assistant):
        return abilities_of(agent)
    mcp = await stack.enter_async_context(open_mcp(read_configuration(settings.mcp_config, os.environ)))
    abilities = abilities_of(await stack.enter_async_context(open_agent(settings, agent, [mcp.tools])))
    return abilities if settings.title_model else replace(abilities, titling=None)


def load_agent(path: str) -> Agent | Assistant:
    """The agent, or the assistant to make one of, at ``package.module:object``.

    Raises:
        ValueError: There is none.
    """
    module, _, name = path.partition(":")
    try:
        agent = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"GATEWAY_AGENT={path}: {error}") from error
    if isinstance(agent, Assistant):
        return agent
    if not callable(getattr(agent, "respond", None)):
        raise ValueError(f"GATEWAY_AGENT={path}: it has no method 'respond', and is no Assistant")
    return cast("Agent", agent)
