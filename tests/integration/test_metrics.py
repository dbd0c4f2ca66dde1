"""Metrics of real services with two workers each: they add up, outlive a worker, and are as documented."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import httpx
import psutil
import pytest
from msgspec import Struct

from tests.client import Client, message
from tests.cluster import RESUMABLE, Reading, begin, resume
from tests.conftest import ROOT
from tests.feeds import listening
from tests.model import model_service
from tests.monitoring import MONITORING, Scrape, names_in, scrape
from tests.processes import Service, free_port, running
from tests.stack import gateway_service, store_service, temporary_data

pytestmark = pytest.mark.timeout(180)

LEASE_S = 40
"""A new worker waits for its first lease for a quarter of this before it goes on without."""


class Measured(Struct):
    """A Bobbin with metrics: two workers each."""

    store: Service
    gateway: Service
    store_port: int
    gateway_port: int

    def of_gateway(self) -> Scrape:
        return scrape(self.gateway_port)

    def of_store(self) -> Scrape:
        return scrape(self.store_port)


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    with ExitStack() as stack:
        ports = free_port(), free_port()
        data = stack.enter_context(temporary_data())
        store = store_service(data, STORE_METRICS_PORT=str(ports[0]), STORE_WORKERS="2")
        stack.enter_context(running(store))
        model = stack.enter_context(running(model_service()))
        settings = {"GATEWAY_METRICS_PORT": str(ports[1]), "GATEWAY_WORKERS": "2", "LEASE_S": str(LEASE_S)}
        gateway = gateway_service(store, model, **settings)
        stack.enter_context(running(gateway))
        yield Measured(store=store, gateway=gateway, store_port=ports[0], gateway_port=ports[1])


async def until(look: Callable[[], Scrape], holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until it holds: workers write once a second how they stand."""
    deadline = time.monotonic() + 20
    while not holds(seen := await asyncio.to_thread(look)):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.1)
    return seen


async def test_what_happened_is_what_is_told(measured: Measured) -> None:
    """Every client has a connection of its own, so both workers have something to tell."""
    before = measured.of_gateway()
    heard = 0
    for number in range(12):
        async with httpx.AsyncClient(base_url=measured.gateway.url, timeout=30) as http:
            model = "script:status=500" if number == 11 else "script:deltas=12"
            events = await Client(http).create("Hello", model=model)
            heard += len(events)
    seen = await until(
        measured.of_gateway,
        lambda now: (
            told(now, "events_total") == told(before, "events_total") + heard
            and told(now, "turns_ended_total") == told(before, "turns_ended_total") + 12
            and told(now, "workers") == told(now, "ready") == 2
        ),
    )

    def more(name: str, **labels: str) -> float:
        return told(seen, name, **labels) - told(before, name, **labels)

    assert more("turns_started_total") == 12
    assert more("turns_ended_total", outcome="completed") == 11
    assert more("turns_ended_total", outcome="failed") == 1
    assert more("turns_failed_total", reason="model_server_error") == 1
    assert more("turn_duration_seconds_count") == 12
    assert more("time_to_first_token_seconds_count") == 11
    assert more("tokens_total", direction="output") == 11 * 12
    assert more("model_requests_total", outcome="200") == 11
    assert more("model_requests_total", outcome="500") == 3  # the package tries again, twice
    assert more("http_requests_total", route="/chatkit", method="POST", status="200") == 12
    assert more("store_call_seconds_count", operation="begin_turn", outcome="ok") == 12
    await until(measured.of_gateway, lambda now: told(now, "turns_running") == told(now, "readers") == 0)
    stored = await until(
        measured.of_store,
        lambda now: (
            now.value("bobbin_store_http_requests_total", route="/v1/turns/{turn_id}/finish") >= 12
            and now.value("bobbin_store_ready") == now.value("bobbin_store_workers") == 2
            and now.value("bobbin_store_database_session_seconds_count") >= 24
            and now.value("bobbin_store_pool_connections") >= 1
        ),
    )
    assert stored.value("bobbin_store_pool_connections") <= 20


def told(seen: Scrape, name: str, **labels: str) -> float:
    return seen.value(f"bobbin_gateway_{name}", **labels)


async def test_a_running_answer_and_its_readers_are_seen(measured: Measured) -> None:
    said = message("Hi", model="script:deltas=3000&delay_ms=20")
    slow = {"type": "threads.create", "params": {"input": said}}
    reading = Reading()
    async with httpx.AsyncClient(base_url=measured.gateway.url, timeout=30) as http, listening(http):
        events = told(measured.of_gateway(), "events_total")
        resumed = told(measured.of_gateway(), "resumes_total")
        await begin(http, slow, reading, events=30)
        await until(measured.of_gateway, lambda now: told(now, "turns_running") == told(now, "feeds") == 1)
        seen = await until(measured.of_gateway, lambda now: told(now, "events_total") > events + 60)
        assert told(seen, "turns_running") == 1
        rest = asyncio.create_task(resume(http, reading))
        await until(measured.of_gateway, lambda now: told(now, "resumes_total") == resumed + 1)
        await until(measured.of_gateway, lambda now: told(now, "readers") >= 1)
        await http.post(f"/chatkit/turns/{reading.turn_id}/cancel")
        await rest
        reading.check()
        assert await resume(http, reading), "nothing is left"
        await until(measured.of_gateway, lambda now: told(now, "turns_running") == told(now, "readers") == 0)
        seen = measured.of_gateway()
        assert told(seen, "resumes_total") == resumed + 1, "who finds nothing left is no reader"
        assert told(seen, "events_total") == events + len(reading.events)
        assert told(seen, "store_call_seconds_count", operation="write_journal", outcome="ok") > 10
        assert told(seen, "journal_buffer_bytes") == 0


async def test_what_a_killed_worker_counted_stays_and_how_it_stood_goes(measured: Measured) -> None:
    ended = told(measured.of_gateway(), "turns_ended_total")
    async with httpx.AsyncClient(base_url=measured.gateway.url, timeout=30) as http:
        await Client(http).create("Hello")
    before = await until(
        measured.of_gateway,
        lambda now: told(now, "workers") == 2 and told(now, "turns_ended_total") == ended + 1,
    )
    limit = told(before, "journal_buffer_limit_bytes")
    first, second = psutil.Process(measured.gateway.pid).children()
    with standing_still(measured.store):  # so that no new worker is there before one was seen to be gone
        os.kill(first.pid, signal.SIGKILL)
        seen = await until(measured.of_gateway, lambda now: told(now, "workers") == 1)
    assert told(seen, "journal_buffer_limit_bytes") == limit / 2
    for name in ("turns_started_total", "turn_duration_seconds_count", "tokens_total"):
        assert told(seen, name) == told(before, name), name
    seen = await until(measured.of_gateway, lambda now: told(now, "ready") == 2)
    assert second.is_running()
    assert told(seen, "turns_started_total") == told(before, "turns_started_total")


@contextmanager
def standing_still(service: Service) -> Generator[None]:
    """Within the block its workers do nothing."""
    workers = psutil.Process(service.pid).children()
    try:
        for worker in workers:
            worker.suspend()
        yield
    finally:
        for worker in workers:
            worker.resume()


async def test_a_worker_that_hangs_is_seen(measured: Measured) -> None:
    worker, _ = psutil.Process(measured.store.pid).children()

    def silence(now: Scrape) -> float:
        return time.time() - now.value("bobbin_store_worker_heartbeat_timestamp_seconds")

    await until(measured.of_store, lambda now: silence(now) < 3)
    worker.suspend()
    try:
        await until(measured.of_store, lambda now: silence(now) > 4)
    finally:
        worker.resume()
    await until(measured.of_store, lambda now: silence(now) < 3)


async def test_everything_that_we_speak_of_is_told(measured: Measured) -> None:
    """By dashboard, alerts and docs; and the docs speak of everything that is told."""
    slow = "script:deltas=50&delay_ms=10"
    async with httpx.AsyncClient(base_url=measured.gateway.url, timeout=30) as http:
        await Client(http, RESUMABLE).create("Hello", model=slow)  # long enough for the journal
        await Client(http).create("Hello", model="script:status=500")
    exported = {
        name
        for seen in (measured.of_gateway(), measured.of_store())
        for name in seen.names()
        if name.startswith("bobbin_")
    }
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    for path in (
        MONITORING / "grafana/dashboards/bobbin.json",
        MONITORING / "alerts.yml",
        MONITORING / "alerts_test.yml",
        ROOT / "docs/operations.md",
    ):
        named = names_in(path)
        assert named, path
        assert named - exported - bases == set(), path
    assert bases - names_in(ROOT / "docs/operations.md") == set()


async def test_no_label_holds_what_someone_made_up(measured: Measured) -> None:
    async with httpx.AsyncClient(base_url=measured.gateway.url, timeout=30) as http:
        thread_id = (await Client(http).create("A secret of mine"))[0]["thread"]["id"]
        assert (await http.get(f"/nothing/{thread_id}")).status_code == 404
        assert (await http.request("BREW", "/chatkit")).status_code == 405
        await Client(http).post({"type": "threads.get_by_id", "params": {"thread_id": thread_id}})
    for seen in (measured.of_gateway(), measured.of_store()):
        text = str(seen)
        assert thread_id not in text
        assert "secret" not in text
        assert "local" not in seen.labels("owner")
        assert seen.labels("route") <= {"none"} | {
            route for route in seen.labels("route") if re.fullmatch(r"(/[a-z.0-9]+|/\{[a-z_]+\})+", route)
        }
        assert seen.labels("method") <= {"GET", "POST", "PUT", "PATCH", "DELETE", "other"}


def test_the_port_that_the_proxy_publishes_tells_nothing(measured: Measured) -> None:
    for service in (measured.gateway, measured.store):
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(f"{service.url}/metrics", timeout=5)


def test_nothing_is_measured_into_files_unless_asked_for() -> None:
    with ExitStack() as stack:
        store = stack.enter_context(running(store_service(stack.enter_context(temporary_data()))))
        for worker in psutil.Process(store.pid).children():
            assert not [file for file in worker.open_files() if "bobbin-metrics-" in file.path]
            assert "bobbin-metrics-" not in str([one.path for one in worker.memory_maps()])


def test_the_folder_goes_with_the_service_and_a_port_in_use_is_a_clear_word() -> None:
    with ExitStack() as stack:
        data, port = stack.enter_context(temporary_data()), free_port()
        first = stack.enter_context(running(store_service(data, STORE_METRICS_PORT=str(port))))
        (worker,) = psutil.Process(first.pid).children()
        mapped = (Path(one.path) for one in worker.memory_maps())
        [folder] = {path.parent for path in mapped if "bobbin-metrics-" in str(path)}
        assert folder.is_dir()
        second = store_service(data, STORE_METRICS_PORT=str(port))
        with pytest.raises(AssertionError, match=r"cannot listen on .* \(STORE_HOST, STORE_METRICS_PORT\)"):
            second.start()
        first.stop()
        assert not folder.exists()
        with pytest.raises(URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
