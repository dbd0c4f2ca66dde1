"""Two servers side by side: the reference's and ours, asked the same.

Both run as real processes on one PostgreSQL. Ids and times in their answers are replaced by their order of
appearance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeAlias

import httpx
import jwt
from msgspec import Struct

from bobbin_store.embedded.server import EmbeddedServer
from tests.client import Client, kinds_of
from tests.model import model_service
from tests.processes import Service, free_port, running
from tests.stack import gateway_service, store_service, temporary_data

Trace: TypeAlias = list[Any]
"""What a server answered to each request, in order."""


class Driver:
    """Sends requests to one server and writes down the answers, normalised."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.trace: Trace = []
        self._names: dict[str, str] = {}

    async def stream(self, kind: str, /, **params: Any) -> list[dict[str, Any]]:
        try:
            response = await self.client.post({"type": kind, "params": params})
        except httpx.RemoteProtocolError:
            self.trace.append("broken off")
            return []
        events = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: ")]
        self.trace.append(self._normalised(events))
        return events

    async def call(self, kind: str, /, **params: Any) -> Any:
        response = await self.client.post({"type": kind, "params": params})
        if response.status_code != 200:
            self.trace.append(response.status_code)
            return None
        answer = response.json()
        self.trace.append(self._normalised(answer))
        return answer

    def _normalised(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._normalised(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._normalised(inner) for inner in value]
        if isinstance(value, str) and _TIME.match(value):
            return "<time>"
        if isinstance(value, str):
            return _ID.sub(self._name, value)
        return value

    def _name(self, found: re.Match[str]) -> str:
        return self._names.setdefault(found[0], f"<{found[1]} {len(self._names)}>")


_ID = re.compile(r"\b(thr|msg|wf|tc|tsk|atc)_[0-9a-f_]{8,}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


Scenario: TypeAlias = Callable[[Driver], Awaitable[None]]
"""Requests, each made from the answers to those before."""


class Difference(Struct):
    """A scenario in which we answer otherwise than the reference: what each answers, and why."""

    scenario: Scenario
    reason: str
    theirs: Trace
    ours: Trace


class Pair(NamedTuple):
    """Both servers."""

    reference: Service
    ours: Service


@contextmanager
def running_pair(
    ours: Mapping[str, str], theirs: tuple[str, ...] = (), *, with_model: bool
) -> Iterator[Pair]:
    """Both servers; settings of ours, arguments of theirs."""
    with ExitStack() as stack:
        data = stack.enter_context(temporary_data())
        store = stack.enter_context(running(store_service(data)))
        model = stack.enter_context(running(model_service()))
        gateway = gateway_service(store, model, AUTH="jwt", JWT_SECRET="x" * 32, **ours)
        port = free_port()
        model_url = (f"--model-url={model.url}/v1",) if with_model else ()
        database = f"--database-url={EmbeddedServer(data).dsn}"
        reference = Service("tests.reference", port, f"--port={port}", database, *model_url, *theirs)
        yield Pair(stack.enter_context(running(reference)), stack.enter_context(running(gateway)))


async def traces(pair: Pair, scenario: Scenario) -> tuple[Trace, Trace]:
    """What both answer, each time to a new user."""
    async with (
        httpx.AsyncClient(base_url=pair.reference.url, timeout=30) as at_reference,
        httpx.AsyncClient(base_url=pair.ours.url, timeout=30) as at_ours,
    ):
        user = scenario.__name__
        theirs = Driver(Client(at_reference, {"x-user": user}))
        mine = Driver(Client(at_ours, {"authorization": f"Bearer {_token(user)}"}))
        await scenario(theirs)
        await scenario(mine)
        return theirs.trace, mine.trace


def _token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": 4_000_000_000}, "x" * 32, algorithm="HS256")


def kinds_in(trace: Trace) -> Trace:
    """The kinds of events of each answer that is a stream; other answers as they are."""
    return [kinds_of(answer) if isinstance(answer, list) else answer for answer in trace]
