"""What stands around the application of a worker."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from bobbin_telemetry.metrics import RequestMetrics
from bobbin_telemetry.requests import Answering
from bobbin_telemetry.worker import observed

REQUESTS = RequestMetrics("worker_requests_test")


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
