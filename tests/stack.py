"""The whole of Bobbin as real processes: PostgreSQL, store, model, gateway."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from msgspec import Struct

from tests.client import Client
from tests.model import model_service
from tests.processes import Service, free_port, running

STORE_TOKEN = "a-service-token-for-tests"
JWT_SECRET = "a secret of at least thirty-two bytes, for tests"


class Stack(Struct):
    """The processes of one Bobbin."""

    store: Service
    model: Service
    gateway: Service
    store_token: str = STORE_TOKEN


def store_service(data_dir: Path, port: int | None = None, **environ: str) -> Service:
    """A store with an embedded PostgreSQL."""
    port = port or free_port()
    return Service(
        "bobbin_store",
        port,
        STORE_PORT=str(port),
        STORE_TOKEN=STORE_TOKEN,
        DATA_DIR=str(data_dir),
        **environ,
    )


def gateway_service(store: Service, model: Service, port: int | None = None, **environ: str) -> Service:
    """A gateway; clients may choose any model, and with it any behaviour of the model server."""
    port = port or free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "STORE_URL": store.url,
        "STORE_TOKEN": STORE_TOKEN,
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENAI_API_KEY": "test",
        "MODEL": "script:deltas=12",
        "MODELS": "*",
        "ATTACHMENTS_URL": "memory:///",
        **environ,
    }
    return Service("bobbin_gateway", port, host=settings.get("GATEWAY_HOST", "127.0.0.1"), **settings)


@contextmanager
def temporary_data() -> Iterator[Path]:
    """A data folder; gone at the end."""
    path = Path(tempfile.mkdtemp(prefix="bobbin-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running_stack(**gateway_settings: str) -> Iterator[Stack]:
    """A Bobbin of its own."""
    with ExitStack() as stack:
        store = stack.enter_context(running(store_service(stack.enter_context(temporary_data()))))
        model = stack.enter_context(running(model_service()))
        gateway = stack.enter_context(running(gateway_service(store, model, **gateway_settings)))
        yield Stack(store=store, model=model, gateway=gateway)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One Bobbin for all tests that do not break it."""
    with running_stack() as running_one:
        yield running_one


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """A client of that Bobbin."""
    async with httpx.AsyncClient(base_url=stack.gateway.url, timeout=30) as http:
        yield Client(http)
