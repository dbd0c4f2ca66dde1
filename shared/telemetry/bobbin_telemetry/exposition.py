"""``GET /metrics``: what all workers of a service have counted, told by their parent on a port of its own.

The proxy publishes the service's port; this one is for Prometheus only. Workers write to files that the
parent reads (prometheus_client's multiprocess mode), so a scrape costs the workers nothing, and what a worker
had counted stays counted when it dies.
"""
# pyright: reportUnknownVariableType=false
# The package's module for several processes is not annotated.

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from bobbin_telemetry.metrics_folder import VARIABLE


@contextmanager
def exposition(host: str, port: int) -> Generator[None]:
    """Within the block answer scrapes on this address, in a thread; not at all if the port is 0.

    Raises:
        OSError: The address cannot be listened on.
    """
    if not port:
        yield
        return
    registry = CollectorRegistry()
    registry.register(_Workers(os.environ[VARIABLE]))
    server, thread = start_http_server(port, host, registry)
    os.register_at_fork(
        after_in_child=server.socket.close
    )  # a worker that outlives us must not keep the port
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Workers(Collector):
    """The metrics of all workers. Of those that have died only what adds up, not how they stood."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(None, folder)
        self._marking = Lock()
        mark_process_dead(os.getpid(), folder)  # the parent loads the metrics, and measures nothing

    def collect(self) -> Iterable[Metric]:
        with self._marking:  # each scrape has a thread of its own, and a file can be removed once
            self._forget_dead()
        metrics: Iterable[Metric] = self._files.collect()
        return metrics

    def _forget_dead(self) -> None:
        for pid in {int(file.stem.rpartition("_")[2]) for file in Path(self._folder).glob("gauge_live*.db")}:
            if not _is_alive(pid):
                mark_process_dead(pid, self._folder)


def _is_alive(pid: int) -> bool:
    """Whether this worker runs. A process of another user's has been given its number since."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
