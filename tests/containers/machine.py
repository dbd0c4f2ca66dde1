"""One container that a test may stop, kill, start again or replace, and its logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
import httpx
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

LABELS = {"bobbin.tests": ""}
"""On all that tests start."""

HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
"""As compose.yaml runs our images, with a `/tmp` in memory."""

START_S = 45.0
STOP_S = 60


class Machine:
    """A container, made by `make` now and whenever it is replaced."""

    def __init__(self, name: str, port: int, make: Callable[[], DockerContainer]) -> None:
        self.name = name
        self._port = port
        self._make = make
        self._before = ""
        self.container = make()

    def start(self) -> Machine:
        """Create it and start it; it need not be ready yet."""
        self.container.start()
        return self

    @property
    def url(self) -> str:
        """Where it is reached from outside; another one after each start."""
        return (
            f"http://{self.container.get_container_host_ip()}:{self.container.get_exposed_port(self._port)}"
        )

    @property
    def wrapped(self) -> Any:
        """The container as the docker package knows it, with all that is known of it now."""
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return wrapped

    def await_healthy(self, within_s: float = START_S) -> Machine:
        """Wait until its own health check says so."""
        deadline = time.monotonic() + within_s
        while (state := self.wrapped.attrs["State"])["Health"]["Status"] != "healthy":
            assert state["Running"], f"{self.name} ended with {state['ExitCode']}:\n{self.logs()}"
            assert time.monotonic() < deadline, f"{self.name} is not healthy:\n{state}\n{self.logs()}"
            time.sleep(0.1)
        return self

    def await_answer(self, path: str = "/health/ready", within_s: float = START_S) -> Machine:
        """Wait until it answers with 200; sooner seen than by the health check."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                if httpx.get(self.url + path, timeout=1).status_code == httpx.codes.OK:
                    return self
            except (httpx.TransportError, ConnectionError):
                pass  # not yet
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.logs()}"
            time.sleep(0.02)

    def await_end(self, within_s: float = START_S) -> int:
        """Wait until its process has ended; its exit code."""
        return int(self.container.get_wrapped_container().wait(timeout=within_s)["StatusCode"])

    def kill(self) -> None:
        """Kill -9."""
        self.container.get_wrapped_container().kill()

    def stop(self) -> None:
        """Ask it to stop, as an operator would, and wait until it has."""
        self.container.get_wrapped_container().stop(timeout=STOP_S)

    def start_again(self) -> None:
        """The same container, as a restart policy would start it."""
        self.container.get_wrapped_container().start()

    def replace(self) -> Machine:
        """Stop it, remove it, and start a new one in its place, as a roll-out does."""
        self.stop()
        code = int(self.wrapped.attrs["State"]["ExitCode"])
        assert code == 0, f"{self.name} was stopped and ended with {code}:\n{self.logs()}"
        self.remove()
        self.container = self._make()
        return self.start()

    def replace_after_the_new_one(self) -> Machine:
        """The same, but the new one is at work before the old one stops: so it has another address."""
        old, self.container = self.container, self._make()
        self.start().await_healthy()
        wrapped = old.get_wrapped_container()
        wrapped.stop(timeout=STOP_S)
        wrapped.reload()
        assert wrapped.attrs["State"]["ExitCode"] == 0, wrapped.logs().decode()
        self._before += wrapped.logs().decode(errors="replace")
        old.stop()
        return self

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code and output of a command within."""
        result = self.container.get_wrapped_container().exec_run(list(command))
        return int(result.exit_code), result.output.decode()

    def remove(self) -> None:
        """With its volumes, whatever its state; what it wrote is kept."""
        if self.container._container:
            self._before = f"{self.logs()}-- removed --\n"
        self.container.stop()
        self.container._container = None

    def logs(self) -> str:
        """What it wrote to both of its streams, and what those did whose place it took."""
        if not self.container._container:
            return self._before
        return self._before + self.container.get_wrapped_container().logs().decode(errors="replace")


@contextmanager
def network() -> Iterator[Network]:
    """A network of its own, on which all find each other by name."""
    with Network(docker_network_kw={"labels": LABELS}) as one:
        yield one


def remove_leftovers() -> None:
    """Remove what a run has left behind that was killed; a run that is at work now is younger."""
    client = docker.from_env()
    try:
        everything = {"filters": {"label": "bobbin.tests"}}
        for one in [*client.containers.list(all=True, **everything), *client.networks.list(**everything)]:
            if datetime.now(UTC) - datetime.fromisoformat(one.attrs["Created"]) > OLD:
                one.remove(force=True, v=True) if isinstance(one, Container) else one.remove()
    finally:
        client.close()


OLD = timedelta(hours=1)
