"""What both services measure of their requests and their workers."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import suppress
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from bobbin_telemetry import metrics
from bobbin_telemetry.metrics import RequestMetrics, WorkerMetrics

REQUESTS = RequestMetrics("requests_test")
WORKER = WorkerMetrics("worker_test")


def counted(**labels: str) -> float | None:
    return REGISTRY.get_sample_value("bobbin_requests_test_http_requests_total", labels)


async def answer(method: str, route: str | None, status: int, chunks: int = 1) -> list[Any]:
    """Send a request through the measured application; what came out."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if route is not None:
            scope["path_template"] = route
        await send({"type": "http.response.start", "status": status})
        for _ in range(chunks):
            await send({"type": "http.response.body"})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    await REQUESTS.measured(app)({"type": "http", "method": method, "path": "/a/b"}, receive, send)
    return sent


async def test_a_request_is_counted_once_by_its_route_however_much_is_sent() -> None:
    sent = await answer("GET", "/a/{id}", 200, chunks=50)
    assert len(sent) == 51
    assert counted(method="GET", route="/a/{id}", status="200") == 1
    labels = {"method": "GET", "route": "/a/{id}"}
    assert REGISTRY.get_sample_value("bobbin_requests_test_http_response_start_seconds_count", labels) == 1


async def test_what_callers_make_up_is_no_label() -> None:
    await answer("BREW", None, 404)
    assert counted(method="other", route="none", status="404") == 1


async def test_what_is_no_request_passes_unseen() -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    await REQUESTS.measured(app)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def test_a_worker_tells_how_late_its_loop_is() -> None:
    looked = asyncio.Event()
    keeping = asyncio.create_task(WORKER.keep(looked.set))
    await looked.wait()
    looked.clear()
    time.sleep(1.5)  # noqa: ASYNC251 (what is to be noticed)
    await asyncio.wait_for(looked.wait(), 5)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping

    def value(name: str) -> float:
        found = REGISTRY.get_sample_value(f"bobbin_worker_test_{name}")
        assert found is not None
        return found

    assert value("event_loop_lag_seconds") > 0.4
    assert value("workers") == 1
    assert value("worker_cpu_seconds_total") > 0
    assert value("worker_resident_memory_bytes") > 10_000_000
    assert abs(value("worker_heartbeat_timestamp_seconds") - time.time()) < 5


async def test_what_cannot_be_looked_at_is_said_once_and_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when no file descriptor is left: the worker has to outlive it, and to be measured afterwards."""
    monkeypatch.setattr(metrics, "SAMPLE_S", 0.001)
    looks = iter([OSError(errno.EMFILE, "Too many open files")] * 3 + [None] + [ValueError("what")] * 2)
    done = asyncio.Event()

    def sample() -> None:
        error = next(looks, done)
        if error is done:
            done.set()
        elif isinstance(error, Exception):
            raise error

    with structlog.testing.capture_logs() as logs:
        keeping = asyncio.create_task(WORKER.keep(sample))
        await asyncio.wait_for(done.wait(), 5)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    assert [entry["event"] for entry in logs] == ["not measured"] * 2
