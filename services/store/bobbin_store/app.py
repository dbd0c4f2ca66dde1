"""The store as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from bobbin_store import metrics
from bobbin_store.database import Database, open_database
from bobbin_store.errors import StoreError
from bobbin_store.expiry import expiring
from bobbin_store.health import watching
from bobbin_store.http import (
    attachments,
    blobs,
    feedback,
    gateways,
    health,
    items,
    owners,
    threads,
    turns,
    watch,
)
from bobbin_store.http.exchange import StoreRequest, require_token
from bobbin_store.problems import on_bug, on_http_error, on_store_error
from bobbin_store.settings import Settings


def create_app(settings: Settings) -> Litestar:
    """Compose the store. The database at `settings.dsn` must be migrated before it is used."""
    api = Router(
        "/v1",
        before_request=require_token,
        route_handlers=[
            *threads.ROUTES,
            *items.ROUTES,
            *turns.ROUTES,
            *attachments.ROUTES,
            *feedback.ROUTES,
            *owners.ROUTES,
            *gateways.ROUTES,
            *watch.ROUTES,
            *blobs.ROUTES,
        ],
    )
    return Litestar(
        [api, *health.ROUTES],
        state=State({"settings": settings}),
        lifespan=[lifespan],
        exception_handlers={
            StoreError: on_store_error,
            HTTPException: on_http_error,
            Exception: on_bug,
        },
        request_class=StoreRequest,
        openapi_config=_openapi(),
        logging_config=None,
    )


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    """What the routes need, from start to stop."""
    settings = cast("Settings", app.state.settings)
    async with (
        open_database(settings.dsn, settings) as database,
        expiring(database),
        watching(settings.dsn) as health,
        measuring(database),
    ):
        app.state.database = database
        app.state.health = health
        yield


@asynccontextmanager
async def measuring(database: Database) -> AsyncGenerator[None]:
    """Write down for the metrics, within the block, how this worker stands."""
    keeping = asyncio.create_task(metrics.WORKER.keep(database.sample), name="metrics")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Bobbin thread store",
        version="1",
        path="/schema",
        description="Bodies are JSON or MessagePack (Content-Type, Accept). Errors are RFC 9457 problems.",
        components=Components(
            security_schemes={"service_token": SecurityScheme(type="http", scheme="bearer")}
        ),
        security=[{"service_token": []}],
        render_plugins=[JsonRenderPlugin()],
    )
