"""The processes of the chaos: two gateways, two stores, one PostgreSQL, one model; and their violent ends."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psutil
from msgspec import Struct

from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.errors import CannotStart
from tests.model import model_service
from tests.postgres import readable_folder
from tests.processes import Service
from tests.stack import JWT_SECRET, gateway_service, store_service

DURABLE_ENOUGH = {"fsync": "off"}
"""For a process that is killed: what it wrote is the kernel's. (Loss of power is not tested.)"""

RESTART_S = 90.0
"""A process that does not come up in this time, started again and again, is a failure."""

_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections: nobody takes the port of a dead process."""


class Victim(Struct, kw_only=True):
    """Something that can be killed."""

    kind: str
    kill: Callable[[], None]
    revive: Callable[[], object]
    """Start it again; returns when it is at work, or raises an AssertionError or CannotStart; blocks."""
    kill_part: Callable[[], None]
    """Kill only one of its processes, which it replaces itself."""
    await_part: Callable[[], object]
    """Returns when it has done so; blocks."""
    signal: Callable[[int], None] | None = None
    """Send it a signal; None for what must not be held up."""
    up: bool = True


def _service(kind: str, service: Service) -> Victim:
    def revive() -> None:
        with suppress(AssertionError, ProcessLookupError):
            service.kill()  # if an earlier start is still at it
        service.start()

    def kill_worker() -> None:
        for child in psutil.Process(service.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "resource_tracker" not in " ".join(child.cmdline()):
                    child.kill()

    return Victim(
        kind=kind,
        kill=service.kill,
        revive=revive,
        kill_part=kill_worker,
        await_part=service.await_ready,
        signal=lambda sign: os.killpg(service.pid, sign),
    )


class Machines:
    """All processes, running."""

    def __init__(
        self, gateways: list[Service], stores: list[Service], database: EmbeddedServer, dice: random.Random
    ) -> None:
        self.gateways = gateways
        self.stores = stores
        self.database = database
        self.kills: dict[str, int] = {}
        self.freezes = 0
        self._dice = dice
        self._reviving: set[asyncio.Task[None]] = set()
        self._victims = [
            *(_service("gateway", one) for one in gateways),
            *(_service("store", one) for one in stores),
            Victim(
                kind="database",
                kill=self._kill_database,
                revive=self._revive_database,
                kill_part=self._kill_session,
                await_part=self._revive_database,
            ),
        ]

    async def kill_one(self) -> str:
        """Kill -9 of a random process that is up; it is started again at once, in the background."""
        victim = await self._one_of(self._victims)
        if self._dice.random() < _ONLY_A_PART:
            kind, kill, revive = f"process of a {victim.kind}", victim.kill_part, victim.await_part
        else:
            kind, kill, revive = victim.kind, victim.kill, victim.revive
        victim.up = False
        await asyncio.to_thread(kill)
        self.kills[kind] = self.kills.get(kind, 0) + 1
        self._reviving.add(asyncio.create_task(self._revive(victim, revive)))
        return kind

    async def freeze_one(self, least_s: float) -> str:
        """Let a random gateway or store stand still for a while, longer than `least_s`."""
        victim = await self._one_of([victim for victim in self._victims if victim.signal is not None])
        assert victim.signal is not None
        victim.up = False
        victim.signal(signal.SIGSTOP)
        self.freezes += 1
        self._reviving.add(asyncio.create_task(self._thaw(victim, least_s * self._dice.uniform(1, 3))))
        return victim.kind

    async def _thaw(self, victim: Victim, after_s: float) -> None:
        assert victim.signal is not None
        await asyncio.sleep(after_s)
        victim.signal(signal.SIGCONT)
        victim.up = True

    async def _one_of(self, victims: list[Victim]) -> Victim:
        """One that is up, as soon as there is one."""
        while not (up := [victim for victim in victims if victim.up]):  # noqa: ASYNC110 (rarely)
            await asyncio.sleep(0.1)
        return self._dice.choice(up)

    async def _revive(self, victim: Victim, revive: Callable[[], object]) -> None:
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                await asyncio.to_thread(revive)
            except (AssertionError, CannotStart):  # as a supervisor: a port may be taken, a database not up
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
                revive = victim.revive
            else:
                break
        victim.up = True

    async def all_up(self) -> None:
        """Wait until everything runs again."""
        await asyncio.gather(*self._reviving)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.database._data / "postmaster.pid").read_text().split()[0]))

    def _kill_database(self) -> None:
        postmaster = self._postmaster()
        postmaster.kill()
        postmaster.wait(_DEAD_S)

    def _kill_session(self) -> None:
        """PostgreSQL answers to this by ending all sessions and recovering."""
        for child in self._postmaster().children():
            with suppress(psutil.NoSuchProcess):
                if "[local]" in " ".join(child.cmdline()):
                    child.kill()
                    return

    def _revive_database(self) -> None:
        assert self.database.restart_if_gone() or self.database.is_running()

    def logs(self) -> dict[str, str]:
        """What each process wrote."""
        services = {"gateway": self.gateways, "store": self.stores}
        return {
            f"{kind} {number}": one.log()
            for kind, ones in services.items()
            for number, one in enumerate(ones, 1)
        }


_DEAD_S = 60
"""A process that was killed is gone at once, but on a machine that is busy with other things."""
_ONLY_A_PART = 0.2
"""How often only the worker of a service is killed, or a session of the database."""


@asynccontextmanager
async def running_machines(dice: random.Random, **gateway_settings: str) -> AsyncIterator[Machines]:
    """Everything, started, and stopped at the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(readable_folder())
        database = EmbeddedServer(folder, DURABLE_ENOUGH)
        await asyncio.to_thread(database.start)
        stack.push_async_callback(asyncio.to_thread, database.stop)
        model = await _started(model_service(), stack)
        ports = _free_ports(4)
        stores = [
            await _started(store_service(folder, port, DATABASE_URL=database.dsn), stack)
            for port in ports[:2]
        ]
        gateways = [
            await _started(
                gateway_service(
                    store, model, port, AUTH="jwt", JWT_SECRET=JWT_SECRET, **{**_GATEWAY, **gateway_settings}
                ),
                stack,
            )
            for store, port in zip(stores, ports[2:], strict=True)
        ]
        machines = Machines(gateways, stores, database, dice)
        try:
            yield machines
        finally:
            await asyncio.gather(*machines._reviving, return_exceptions=True)


LEASE_S = 3.0
_GATEWAY = {"LEASE_S": str(LEASE_S), "KEEPALIVE_S": "2"}


async def _started(service: Service, stack: AsyncExitStack) -> Service:
    stack.push_async_callback(asyncio.to_thread, service.stop)
    return await asyncio.to_thread(service.start)


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports")
