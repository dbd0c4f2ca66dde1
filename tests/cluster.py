"""Several gateways before one store, as real processes, and readers that move from one to another."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource
from msgspec import Struct, field

from bobbin_store.embedded.server import EmbeddedServer
from tests.client import Client, Event, check_event
from tests.model import model_service
from tests.processes import Service, running
from tests.stack import STORE_TOKEN, gateway_service, store_service, temporary_data


class Cluster(Struct):
    """One store, one model, several gateways."""

    store: Service
    model: Service
    gateways: list[Service]
    database_url: str = ""
    """Of the database in the store, for what its API does not tell; empty if it is another's."""

    def client(self, index: int = 0, **headers: str) -> Client:
        """A client of one gateway."""
        http = httpx.AsyncClient(base_url=self.gateways[index].url, timeout=30)
        return Client(http, headers)

    def store_http(self, owner: str = "local") -> httpx.AsyncClient:
        """The store's API in an owner's name."""
        headers = {"authorization": f"Bearer {STORE_TOKEN}", "bobbin-owner": owner}
        return httpx.AsyncClient(base_url=self.store.url, headers=headers, timeout=30)


@contextmanager
def running_cluster(gateways: int = 2, **gateway_settings: str) -> Iterator[Cluster]:
    """A cluster of its own."""
    with ExitStack() as stack:
        data = stack.enter_context(temporary_data())
        store = stack.enter_context(running(store_service(data)))
        model = stack.enter_context(running(model_service()))
        bare = Cluster(store=store, model=model, gateways=[], database_url=EmbeddedServer(data).dsn)
        yield stack.enter_context(more_gateways(bare, gateways, **gateway_settings))


@contextmanager
def more_gateways(cluster: Cluster, count: int = 2, **gateway_settings: str) -> Iterator[Cluster]:
    """More gateways, with settings of their own, before the same store."""
    with ExitStack() as stack:
        services = [
            stack.enter_context(running(gateway_service(cluster.store, cluster.model, **gateway_settings)))
            for _ in range(count)
        ]
        yield Cluster(cluster.store, cluster.model, services, cluster.database_url)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests that do not break it.

    A long lease changes nothing but how long a gateway waits for another that is to stop a turn, or for the
    store, on a busy machine.
    """
    with running_cluster(LEASE_S="15") as one:
        yield one


class Reading(Struct):
    """What a resumable reader has of a turn: events with their numbers."""

    turn_id: str = ""
    events: list[Event] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    unnumbered: list[Event] = field(default_factory=list)

    @property
    def last_id(self) -> str:
        return f"{self.turn_id}:{self.numbers[-1]}" if self.numbers else ""

    def take(self, event_id: str, event: Event) -> None:
        """Add an event as it came."""
        turn_id, _, number = event_id.rpartition(":")
        if not number:
            self.unnumbered.append(event)
            return
        assert turn_id == self.turn_id, (turn_id, self.turn_id)
        self.numbers.append(int(number))
        self.events.append(event)

    def check(self) -> None:
        """No event lost, none twice."""
        assert self.numbers == list(range(1, len(self.numbers) + 1)), self.numbers


RESUMABLE = {"ChatKit-Resumable": "1"}


async def begin(
    http: httpx.AsyncClient, body: dict[str, Any], read: Reading, *, events: int = 10**9, **headers: str
) -> bool:
    """Send a request and read so many events of its turn, then leave. Whether the turn's end was seen."""
    async with http.stream(
        "POST",
        "/chatkit",
        content=json.dumps(body),
        headers={"content-type": "application/json", **RESUMABLE, **headers},
    ) as response:
        assert response.status_code == 200, await response.aread()
        read.turn_id = response.headers["chatkit-turn-id"]
        return await _take(response, read, events)


async def resume(http: httpx.AsyncClient, read: Reading, *, events: int = 10**9) -> bool:
    """Come back to the turn and read so many more events. Whether its end was seen."""
    headers = {"last-event-id": read.last_id} if read.last_id else {}
    async with http.stream("GET", f"/chatkit/turns/{read.turn_id}/events", headers=headers) as response:
        if response.status_code == 204:
            return True
        assert response.status_code == 200, await response.aread()
        return await _take(response, read, events)


async def _take(response: httpx.Response, read: Reading, events: int) -> bool:
    if events <= 0:
        return False
    async for event_id, event in _pairs(response):
        read.take(event_id, event)
        events -= 1
        if events == 0:
            return False
    return True


async def _pairs(response: httpx.Response) -> AsyncIterator[tuple[str, Event]]:
    last = ""
    async for sse in EventSource(response).aiter_sse():
        event = json.loads(sse.data)
        check_event(event)
        yield ("" if sse.id == last else sse.id), event
        last = sse.id
