"""What both services measure: their requests, and how their worker processes do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn

import structlog
from prometheus_client import Counter, Gauge, Histogram

from bobbin_telemetry.asgi import Application, Message, Receive, Scope, Send

log = structlog.stdlib.get_logger()

LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of histograms of calls that are over soon, in seconds."""

SAMPLE_S: Final = 1.0
"""How often a worker writes down how it stands."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class RequestMetrics:
    """Counts the requests of one service, by route (never by path) and status."""

    def __init__(self, service: str) -> None:
        self._requests = Counter(
            f"bobbin_{service}_http_requests",
            "HTTP requests answered, by method, route and status.",
            ["method", "route", "status"],
        )
        self._seconds = Histogram(
            f"bobbin_{service}_http_response_start_seconds",
            "Time from an HTTP request to the begin of its answer, by method and route.",
            ["method", "route"],
            buckets=LATENCIES,
        )

    def measured(self, app: Application) -> Application:
        """The application, and each of its answers counted as it begins: streams are not looked at."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began = time.monotonic()

            def measured_send(message: Message) -> Awaitable[None]:
                if message["type"] == "http.response.start":
                    self._count(scope, message["status"], time.monotonic() - began)
                return send(message)

            await app(scope, receive, measured_send)

        return serve

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = scope.get("path_template") or "none"  # Litestar's word for the route, once it is found
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)


class WorkerMetrics:
    """How a worker process does, written down every second; and whatever else is to be looked at so often."""

    def __init__(self, service: str) -> None:
        prefix = f"bobbin_{service}"
        self._workers = Gauge(f"{prefix}_workers", "Worker processes that run.", multiprocess_mode="livesum")
        self._alive_at = Gauge(
            f"{prefix}_worker_heartbeat_timestamp_seconds",
            "When that worker last ran its event loop that has not done so for longest.",
            multiprocess_mode="livemin",
        )
        self._lag = Gauge(
            f"{prefix}_event_loop_lag_seconds",
            "How late an event loop woke up, in the worker where it was latest.",
            multiprocess_mode="livemax",
        )
        self._cpu = Counter(f"{prefix}_worker_cpu_seconds", "CPU time of all workers.")
        self._memory = Gauge(
            f"{prefix}_worker_resident_memory_bytes", "Memory of all workers.", multiprocess_mode="livesum"
        )
        self._counted_cpu_s = 0.0
        self._problem = ""

    async def keep(self, sample: Callable[[], None]) -> NoReturn:
        """Write down how this worker stands, and call `sample`, every second; for ever."""
        self._workers.set(1)
        late_s = 0.0
        while True:
            self._look(late_s, sample)
            due = time.monotonic() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            late_s = max(0.0, time.monotonic() - due)

    def _look(self, late_s: float, sample: Callable[[], None]) -> None:
        """Write it all down; a figure that cannot be had (no file descriptor is left) ends nothing."""
        try:
            self._write(late_s)
            sample()
        except Exception as error:
            if self._problem != repr(error):  # not every second
                log.exception("not measured")
            self._problem = repr(error)
        else:
            self._problem = ""

    def _write(self, late_s: float) -> None:
        self._alive_at.set_to_current_time()
        self._lag.set(late_s)
        cpu_s = time.process_time()
        self._cpu.inc(cpu_s - self._counted_cpu_s)
        self._counted_cpu_s = cpu_s
        if _MEMORY_PAGES.exists():
            self._memory.set(int(_MEMORY_PAGES.read_text().split()[1]) * _PAGE_BYTES)


_MEMORY_PAGES = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
