"""Real processes for tests: started on free ports, waited for, stopped, and their logs shown on failure."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from tests.conftest import ROOT

START_TIMEOUT_S = 30.0


class Service:
    """One process with an HTTP port."""

    def __init__(
        self,
        module: str,
        port: int,
        *arguments: str,
        host: str = "127.0.0.1",
        ready: str = "/health/ready",
        command: Sequence[str] | None = None,
        **environ: str,
    ) -> None:
        """Prepare a process.

        Args:
            module: The Python module that is the program, or a name for another command.
            port: Where it will listen.
            arguments: Of the module.
            host: The address with the port.
            ready: The path that answers 200 when it is ready.
            command: Run this instead of a module.
            environ: Its environment variables.
        """
        self.url = f"http://{host}:{port}"
        self.port = port
        self._command = command or [sys.executable, "-m", module, *arguments]
        self._environ = {**_inherited(), **environ}
        self._ready = self.url + ready
        self._log = _unnamed_file()
        weakref.finalize(self, os.close, self._log)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        """Start it and wait until it is ready."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            start_new_session=True,
        )
        return self.await_ready()

    def await_ready(self) -> Service:
        """Wait until it is ready (again)."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            assert self._process.poll() is None, f"{self._command} ended at start:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self._command} is not ready:\n{self.log()}"
            time.sleep(0.02)
        return self

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready, timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it wrote so far, to both of its streams."""
        written = os.pread(self._log, os.fstat(self._log).st_size, 0)  # leaves the writers' place alone
        return written.decode(errors="replace")

    def stop(self) -> int:
        """Ask it to stop, as an operator would; returns its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of one that has been told to stop; returns its exit status."""
        assert self._process is not None
        process, self._process = self._process, None
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"{self._command} did not stop:\n{self.log()}") from None

    def kill(self) -> None:
        """Kill -9, with all its children."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


ServiceT = TypeVar("ServiceT", bound=Service)


@contextmanager
def running(service: ServiceT) -> Generator[ServiceT]:
    """The service, started, and stopped at the end."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


def workers_of(service: Service) -> list[psutil.Process]:
    """Those processes of a service that serve."""
    workers: list[psutil.Process] = []
    for child in psutil.Process(service.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "bobbin_" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


def free_port() -> int:
    """A TCP port that nobody listens on right now, and that nobody else is about to be told of."""
    for port in itertools.islice(_PORTS, _MOST_PORTS):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def _own_ports() -> Iterator[int]:
    """Those of this worker of xdist, again and again.

    They are below those of the chaos, and below those that the kernel gives to outgoing connections: nobody
    takes the port of a process that is yet to start, or to start again. It begins anywhere, for other runs.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, offset = 10_000 + _MOST_PORTS * worker, random.randrange(_MOST_PORTS)
    return itertools.cycle(first + (offset + number) % _MOST_PORTS for number in range(_MOST_PORTS))


_MOST_PORTS = 3_000
_PORTS = _own_ports()


def _unnamed_file() -> int:
    """A file that is gone when nobody has it open; its descriptor."""
    descriptor, path = tempfile.mkstemp()
    Path(path).unlink()
    return descriptor


def _inherited() -> dict[str, str]:
    """The environment without what would change our services' settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
