"""What a worker does before it serves, and what stands around its application."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
from prometheus_client import REGISTRY

from bobbin_telemetry.metrics import RequestMetrics
from bobbin_telemetry.requests import Answering
from bobbin_telemetry.worker import observed

REQUESTS = RequestMetrics("worker_requests_test")

STARTING = """
import os, signal, time
from bobbin_telemetry.worker import begin_worker
signal.signal(signal.{stop}, lambda *_: None)  # as a parent does that only notes it
begin_worker("bobbin-test", "json", "warning")
os.kill(os.getpid(), signal.{stop})
time.sleep(30)
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_while_it_starts_ends(stop: signal.Signals) -> None:
    program = STARTING.format(stop=stop.name)
    done = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)
    assert done.returncode == -stop


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def nothing() -> Any:
    raise AssertionError


async def test_requests_are_named_and_counted_only_if_there_is_whom_to_tell() -> None:
    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append(message)

    async def looking(scope: Any, receive: Any, send: Any) -> None:
        assert isinstance(send, Answering), "nothing stands between the name and the application"
        await app(scope, receive, send)

    for requests, counted in ((None, None), (REQUESTS, 1)):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"mine")]}
        served = observed(looking, "bobbin-test", access_log=False, requests=requests)
        await served(scope, nothing, send)
        assert seen.pop()["headers"] == [(b"x-request-id", b"mine")]
        labels = {"method": "GET", "route": "none", "status": "200"}
        name = "bobbin_worker_requests_test_http_requests_total"
        assert REGISTRY.get_sample_value(name, labels) == counted
