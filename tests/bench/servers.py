"""The servers under measurement, as real processes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import psutil
from msgspec import Struct

from bobbin_store.database import connect
from bobbin_store.embedded.server import EmbeddedServer
from tests.bench.client import Request, http_post
from tests.bench.cost import Tree
from tests.processes import Service, free_port, running
from tests.stack import STORE_TOKEN, gateway_service, temporary_data

MESSAGE = "What is a bobbin, and how do I wind one?"
CHATKIT_DELTA = b"assistant_message.content_part.text_delta"
MODEL_DELTA = b"event: response.output_text.delta"

POSTGRES = {"max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off", "max_connections": "100"}
"""Durable as by default; but chores of now and then do not fall into one server's measurement by chance."""
CONNECT_TIMEOUT_S = 10.0


class Target(Struct):
    """A server that answers turns."""

    name: str
    port: int
    trees: dict[str, Tree]
    """What works for it, by part; `gateway` is what speaks to clients."""
    path: str = "/chatkit"

    def create(self, script: str) -> Request:
        """A message that opens a thread; the model answers it as the script says."""
        return self._request("threads.create", {"input": _input(script)}, script)

    def say(self, thread_id: str, script: str) -> Request:
        """Another message in a thread."""
        return self._request(
            "threads.add_user_message", {"thread_id": thread_id, "input": _input(script)}, script
        )

    def _request(self, kind: str, params: dict[str, object], script: str) -> Request:
        path = f"{self.path}?{script}" if self.name == "ceiling" else self.path
        data = http_post(path, {"type": kind, "params": params})
        return Request(data=data, marker=CHATKIT_DELTA, deltas=_deltas_of(script))


class Servers(Struct):
    """Everything that runs during a bench."""

    reference: Target
    ours: Target
    ceiling: Target
    model: Service
    store: Service
    dsn: str
    """The store's database, as its superuser."""
    trees: dict[str, Tree]
    """What works for ours, and the model."""

    @property
    def targets(self) -> list[Target]:
        return [self.reference, self.ours, self.ceiling]

    def ask_model(self, script: str) -> Request:
        """The same turn, asked of the model itself."""
        body = {"model": f"script:{script}", "input": MESSAGE, "stream": True}
        return Request(data=http_post("/v1/responses", body), marker=MODEL_DELTA, deltas=_deltas_of(script))


@asynccontextmanager
async def started_servers() -> AsyncGenerator[Servers]:
    """Start them all on free ports; stop them at the end."""
    with ExitStack() as stack:
        postgres = EmbeddedServer(stack.enter_context(temporary_data()), POSTGRES)
        postgres.start()
        stack.callback(postgres.stop)
        database = Tree(await _prepare_databases(postgres))
        model = stack.enter_context(running(_model()))
        reference = stack.enter_context(running(_reference(postgres.dsn_of("reference"), model)))
        store = stack.enter_context(running(_store(postgres.dsn_of("bobbin"))))
        gateway = stack.enter_context(running(gateway_service(store, model)))
        ceiling = stack.enter_context(running(_ceiling()))
        ours = {"gateway": Tree(gateway.pid), "store": Tree(store.pid), "postgres": database}
        yield Servers(
            reference=Target(
                "reference", reference.port, {"gateway": Tree(reference.pid), "postgres": database}
            ),
            ours=Target("ours", gateway.port, ours),
            ceiling=Target("ceiling", ceiling.port, {"gateway": Tree(ceiling.pid)}),
            model=model,
            store=store,
            dsn=postgres.dsn_of("bobbin"),
            trees={"model": Tree(model.pid), **ours},
        )


async def _prepare_databases(postgres: EmbeddedServer) -> int:
    """Make a database for each; gives the server's process id."""
    connection = await connect(postgres.dsn, CONNECT_TIMEOUT_S)
    try:
        for name in ("reference", "bobbin"):
            await connection.execute(f"CREATE DATABASE {name}")
        backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
        return backend.ppid()
    finally:
        await connection.close()


def _model() -> Service:
    port = free_port()
    return Service("bobbin_gateway.demo_model", port, "--port", str(port), ready="/v1/models")


def _reference(dsn: str, model: Service) -> Service:
    port = free_port()
    arguments = ["--port", str(port), "--database-url", dsn, "--model-url", f"{model.url}/v1"]
    return Service("tests.reference", port, *arguments)


def _store(dsn: str) -> Service:
    port = free_port()
    return Service("bobbin_store", port, STORE_PORT=str(port), STORE_TOKEN=STORE_TOKEN, DATABASE_URL=dsn)


def _ceiling() -> Service:
    port = free_port()
    return Service("tests.bench.ceiling", port, str(port), ready="/")


def _input(script: str) -> dict[str, object]:
    return {
        "content": [{"type": "input_text", "text": MESSAGE}],
        "attachments": [],
        "inference_options": {"model": f"script:{script}"},
    }


def _deltas_of(script: str) -> int:
    """How many deltas of a script arrive: all, or those before it stalls."""
    stalls = re.search(r"\bstall_after=(\d+)", script)
    found = stalls or re.search(r"\bdeltas=(\d+)", script)
    assert found, script
    return int(found[1])
