"""Readiness of real services while what they need hangs or is away: known in time, and no probe hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.health import LOOK_EVERY_S, PATIENCE_S
from tests.client import Client, errors_of
from tests.model import model_service
from tests.postgres import readable_folder
from tests.processes import Service, running
from tests.stack import gateway_service, store_service, temporary_data

pytestmark = pytest.mark.timeout(180)

LONGEST_PROBE_S = 1.0
"""A Kubernetes probe waits that long by default."""
MARGIN_S = 10.0
"""For a machine that has other things to do."""


@contextmanager
def database() -> Iterator[tuple[str, Path]]:
    """A server of its own, by its DSN, and the folder that its processes work in."""
    with readable_folder() as home:
        server = EmbeddedServer(home)
        server.start()
        yield server.dsn, home
        server.stop()


@contextmanager
def standing_still(home: Path) -> Iterator[None]:
    """Within the block no process of the database does anything, and none hangs up."""
    processes = [one for one in psutil.process_iter() if _works_in(one, home)]
    assert processes
    try:
        for one in processes:
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                one.suspend()
        yield
    finally:
        for one in processes:
            with suppress(psutil.NoSuchProcess):
                one.resume()


def _works_in(process: psutil.Process, home: Path) -> bool:
    try:
        return home in Path(process.cwd()).parents
    except psutil.Error:
        return False


class Probes:
    """Asks a service again and again whether it is ready; few answers take long."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._took_s: list[float] = []

    async def status(self) -> int:
        """One answer."""
        began = time.monotonic()
        status = (await self._http.get("/health/ready")).status_code
        self._took_s.append(time.monotonic() - began)
        return status

    async def until(self, status: int, within_s: float) -> float:
        """Ask until the answer is this one; how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(within_s):
            while await self.status() != status:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
        self._check()
        return time.monotonic() - began

    async def burst(self) -> set[int]:
        """The answers to many who ask at once."""
        answers = await asyncio.gather(*(self._http.get("/health/ready") for _ in range(100)))
        return {answer.status_code for answer in answers}

    async def stay(self, status: int, for_s: float) -> None:
        """Nothing else is answered for so long."""
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            assert await self.status() == status
            await asyncio.sleep(0.05)
        self._check()

    def _check(self) -> None:
        """The machine may hold up a few of many; but where each one hangs, there are not many of them."""
        slow = [took_s for took_s in self._took_s if took_s >= LONGEST_PROBE_S]
        assert len(slow) <= 2 + len(self._took_s) // 20, slow
        self._took_s.clear()


@asynccontextmanager
async def probing(service: Service) -> AsyncIterator[Probes]:
    """At the end it is still alive."""
    async with httpx.AsyncClient(base_url=service.url, timeout=10) as http:
        probes = Probes(http)
        yield probes
        assert (await http.get("/health/live")).status_code == 200


async def test_a_store_knows_in_time_that_its_database_hangs() -> None:
    with database() as (dsn, home), temporary_data() as data:
        store = store_service(data, DATABASE_URL=dsn, STORE_POOL_SIZE="2", STORE_STATEMENT_TIMEOUT_S="1")
        with running(store):
            async with probing(store) as probes:
                assert await probes.status() == 200
                with standing_still(home):
                    await probes.until(503, LOOK_EVERY_S + PATIENCE_S + MARGIN_S)
                    assert await probes.burst() == {503}
                await probes.until(200, LOOK_EVERY_S + PATIENCE_S + MARGIN_S)


async def test_a_gateway_is_ready_as_long_as_it_holds_its_lease() -> None:
    """A store that hangs for less than that makes no difference; one that hangs longer is known in time."""
    lease_s = 5.0
    with temporary_data() as data, running(model_service()) as model, running(store_service(data)) as store:
        gateway = gateway_service(store, model, LEASE_S=str(lease_s), STORE_TIMEOUT_S="10", BEGIN_RETRY_S="0")
        with running(gateway):
            async with probing(gateway) as probes:
                os.killpg(store.pid, signal.SIGSTOP)
                try:
                    await probes.stay(200, 1.0)
                finally:
                    os.killpg(store.pid, signal.SIGCONT)
                await probes.stay(200, lease_s + 1)
                os.killpg(store.pid, signal.SIGSTOP)
                try:
                    took = await probes.until(503, lease_s + MARGIN_S)
                    assert took > lease_s / 2
                    assert await probes.burst() == {503}
                finally:
                    os.killpg(store.pid, signal.SIGCONT)
                await probes.until(200, lease_s + MARGIN_S)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                assert errors_of(await Client(http).create("Hello")) == []


async def test_a_gateway_without_a_store_is_live_but_not_ready_until_there_is_one() -> None:
    with temporary_data() as data, running(model_service()) as model:
        store = store_service(data)
        gateway = gateway_service(store, model)
        gateway._ready = f"{gateway.url}/health/live"
        with running(gateway):
            async with probing(gateway) as probes:
                await probes.stay(503, 1)
            store.start()
            async with probing(gateway) as probes:
                await probes.until(200, 10)
            store.stop()
