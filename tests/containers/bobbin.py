"""All of Bobbin in containers on one network: PostgreSQL, stores, gateways, the model, and Caddy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from msgspec import Struct
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.conftest import ROOT
from tests.containers.engine import POSTGRES_IMAGE, Images
from tests.containers.machine import HARDENED, LABELS, Machine, network
from tests.stack import JWT_SECRET, STORE_TOKEN

PASSWORD = "a password of the tests"
DATABASE_URL = "postgresql://bobbin:a%20password%20of%20the%20tests@postgres:5432/bobbin"

STORE = {"STORE_TOKEN": STORE_TOKEN, "DATABASE_URL": DATABASE_URL}
GATEWAY = {
    "STORE_URL": "http://store:8001",
    "STORE_TOKEN": STORE_TOKEN,
    "AUTH": "jwt",
    "JWT_SECRET": JWT_SECRET,
    "OPENAI_BASE_URL": "http://model:8080/v1",
    "OPENAI_API_KEY": "test",
    "MODEL": "script:deltas=12",
    "MODELS": "*",
    "ATTACHMENTS_URL": "memory:///",
    "LEASE_S": "6",
    "DRAIN_NOTICE_S": "4",
    "SHUTDOWN_GRACE_S": "30",
}


class Bobbin(Struct):
    """Its containers."""

    postgres: Machine
    model: Machine
    stores: list[Machine]
    gateways: list[Machine]
    proxy: Machine

    @property
    def machines(self) -> list[Machine]:
        return [self.postgres, self.model, *self.stores, *self.gateways, self.proxy]

    @property
    def dsn(self) -> str:
        """The database, from outside."""
        address = self.postgres.url.removeprefix("http://")
        return f"postgresql://bobbin:{PASSWORD.replace(' ', '%20')}@{address}/bobbin"

    def await_all(self) -> None:
        """Wait until everything is at work, as far as anybody can see."""
        self.model.await_answer("/v1/models")
        for machine in (*self.stores, *self.gateways):
            machine.await_healthy()
        self.proxy.await_answer()

    def logs(self) -> dict[str, str]:
        """What each of them wrote."""
        return {machine.name: machine.logs() for machine in self.machines}


class Workshop:
    """Makes containers on one network."""

    def __init__(self, images: Images, on: Network) -> None:
        self.images = images
        self._made: list[Machine] = []
        self._network = on

    def logs(self) -> dict[str, str]:
        """What all wrote that were made here."""
        return {f"{number} {machine.name}": machine.logs() for number, machine in enumerate(self._made)}

    def _machine(self, name: str, port: int, make: Callable[[], DockerContainer]) -> Machine:
        self._made.append(machine := Machine(name, port, make))
        return machine

    def postgres(self) -> Machine:
        def make() -> DockerContainer:
            one = PostgresContainer(
                POSTGRES_IMAGE, username="bobbin", password=PASSWORD, dbname="bobbin", driver=None
            )
            return self._placed(one, "postgres", shm_size="256m")

        return self._machine("postgres", 5432, make)

    def store(self, name: str = "store-1", **environ: str) -> Machine:
        return self._ours(name, self.images.store, 8001, {**STORE, **environ}, name, "store")

    def gateway(self, name: str = "gateway-1", **environ: str) -> Machine:
        return self._ours(name, self.images.gateway, 8000, {**GATEWAY, **environ}, name)

    def model(self) -> Machine:
        command = "python -m bobbin_gateway.demo_model --host 0.0.0.0 --port 8080"
        return self._ours("model", self.images.gateway, 8080, {}, "model", command=command)

    def proxy(self, gateways: list[Machine]) -> Machine:
        environ = {"GATEWAYS": " ".join(f"{gateway.name}:8000" for gateway in gateways)}

        def make() -> DockerContainer:
            one = DockerContainer(self.images.proxy, env=environ, ports=[8080])
            one.with_volume_mapping(ROOT / "deploy/proxies/Caddyfile", "/etc/caddy/Caddyfile", "ro")
            return self._placed(one, "proxy")

        return self._machine("proxy", 8080, make)

    def _ours(
        self,
        name: str,
        image: str,
        port: int,
        environ: dict[str, str],
        *aliases: str,
        command: str | None = None,
    ) -> Machine:
        def make() -> DockerContainer:
            one = DockerContainer(image, env=environ, ports=[port], command=command)
            return self._placed(one.with_tmpfs_mount("/tmp"), *aliases, **HARDENED)

        return self._machine(name, port, make)

    def _placed(self, container: DockerContainer, *aliases: str, **kwargs: Any) -> DockerContainer:
        return (
            container.with_network(self._network)
            .with_network_aliases(*aliases)
            .with_kwargs(labels=LABELS, **kwargs)
        )


@contextmanager
def workshop(images: Images) -> Iterator[Workshop]:
    """On a network of its own."""
    with network() as on:
        yield Workshop(images, on)


@contextmanager
def started(*machines: Machine) -> Iterator[None]:
    """Start them all at once, and remove them at the end, whatever has become of them."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        for machine in machines:
            stack.callback(machine.remove)
        list(pool.map(Machine.start, machines))
        yield


@contextmanager
def running_bobbin(images: Images) -> Iterator[Bobbin]:
    """Everything, at work."""
    with workshop(images) as make:
        gateways = [make.gateway(f"gateway-{number}") for number in (1, 2)]
        bobbin = Bobbin(
            postgres=make.postgres(),
            model=make.model(),
            stores=[make.store(f"store-{number}") for number in (1, 2)],
            gateways=gateways,
            proxy=make.proxy(gateways),
        )
        with started(*bobbin.machines):
            bobbin.await_all()
            yield bobbin
