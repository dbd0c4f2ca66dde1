"""deploy/monitoring as Prometheus takes it: Debian's, with its promtool, on what real services tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client import Client
from tests.conftest import missing
from tests.model import model_service
from tests.monitoring import MONITORING, dashboard_queries
from tests.processes import free_port, running
from tests.stack import gateway_service, store_service, temporary_data


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing(f"no {name}: apt-get install prometheus")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault(arguments: tuple[str, ...]) -> None:
    run = subprocess.run(
        [program("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    tested = (MONITORING / "alerts_test.yml").read_text()
    assert f"exp_samples: [{{value: {len(alerts)}}}]" in tested, "all of them fire when everything goes wrong"


class Prometheus:
    """A real one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10
        ) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def up(self) -> list[float]:
        """Of each of its targets, whether it was scraped."""
        try:
            return [float(one["value"][1]) for one in self.ask("query", query="up")["result"]]
        except OSError:
            return []

    def silent(self) -> list[tuple[str, str]]:
        """The panels of the dashboard that have nothing to show, with their queries."""
        return [
            (panel, query)
            for panel, query in dashboard_queries()
            if not self.ask("query", query=query.replace("$__rate_interval", "1m"))["result"]
        ]


@contextmanager
def prometheus(folder: Path, targets: dict[str, int]) -> Iterator[Prometheus]:
    """Our configuration, but with targets by their ports instead of by a name service."""
    text = (MONITORING / "prometheus.yml").read_text()
    for job, port in targets.items():
        text, count = re.subn(
            rf"dns_sd_configs: \[{{names: \[{job}\].*",
            f"static_configs: [{{targets: ['127.0.0.1:{port}']}}]",
            text,
        )
        assert count == 1
    text = text.replace("scrape_interval: 5s", "scrape_interval: 2s").replace("interval: 15s", "interval: 1s")
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(MONITORING / "alerts.yml", folder)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(20)


QUIET = {"Why turns fail", "Store calls that fail"}
"""Panels that have nothing to show when all is well."""


@pytest.mark.timeout(180)
async def test_prometheus_scrapes_both_services_and_answers_every_question(tmp_path: Path) -> None:
    program("prometheus")
    with ExitStack() as stack:
        ports = {"gateway": free_port(), "store": free_port()}
        data = stack.enter_context(temporary_data())
        store = stack.enter_context(running(store_service(data, STORE_METRICS_PORT=str(ports["store"]))))
        model = stack.enter_context(running(model_service()))
        gateway = gateway_service(store, model, GATEWAY_METRICS_PORT=str(ports["gateway"]))
        stack.enter_context(running(gateway))
        server = stack.enter_context(prometheus(tmp_path, ports))
        deadline = time.monotonic() + 60
        while server.up() != [1, 1]:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)  # noqa: ASYNC251 (nothing else runs here)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            for _ in range(5):
                await Client(http).create("Hello", model="script:deltas=20&delay_ms=20")
        turns = "sum(increase(bobbin_gateway_turns_ended_total[1m]))"
        while not any(float(one["value"][1]) for one in server.ask("query", query=turns)["result"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # noqa: ASYNC251
        while silent := [query for panel, query in server.silent() if panel not in QUIET]:
            assert time.monotonic() < deadline, silent
            time.sleep(0.2)  # noqa: ASYNC251
        rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        while "unknown" in {rule["health"] for rule in rules}:
            assert time.monotonic() < deadline
            time.sleep(0.2)  # noqa: ASYNC251
            rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}, rules
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
