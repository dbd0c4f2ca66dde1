"""What Prometheus is sent to is where metrics are, and what the autoscaler asks for is among them."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from bobbin_gateway.metrics import TURNS_RUNNING
from tests.conftest import ROOT
from tests.manifests import GUIDE, KUBERNETES, Rendered, pod_of


@pytest.mark.parametrize("service", ["gateway", "store"])
def test_metrics_are_told_on_the_port_that_is_scraped(example: Rendered, service: str) -> None:
    [container] = pod_of(example.one("Deployment", f"bobbin-{service}"))["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    [endpoint] = example.one("PodMonitor", "bobbin")["spec"]["podMetricsEndpoints"]
    told = example.environment(f"bobbin-{service}")[f"{service.upper()}_METRICS_PORT"]
    assert ports[endpoint["port"]] == int(told)
    assert endpoint["path"] == "/metrics"


def test_without_the_component_there_are_none(demo: Rendered) -> None:
    assert "GATEWAY_METRICS_PORT" not in demo.environment("bobbin-gateway")


def test_the_autoscaler_knows_its_metric_by_name(example: Rendered) -> None:
    [metric] = TURNS_RUNNING.collect()
    scaler = example.one("HorizontalPodAutoscaler", "bobbin-gateway")
    asked = [each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"]
    assert asked == [metric.name]
    values = yaml.safe_load((KUBERNETES / "components/autoscaling/prometheus-adapter.yaml").read_text())
    [rule] = values["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == metric.name


def test_the_guide_makes_a_rule_of_the_same_alerts() -> None:
    [script] = re.findall(r"```sh\n(\{.*?)```", GUIDE.read_text(), re.DOTALL)
    played = ["sh", "-euc", f"kubectl() {{ cat; }}\n{script}"]
    made = yaml.safe_load(subprocess.run(played, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())


def test_alerts_know_the_operators_name_of_the_job(example: Rendered) -> None:
    """It is `namespace/name` of the PodMonitor."""
    monitor = example.one("PodMonitor", "bobbin")["metadata"]
    alerts = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())
    [down] = [rule["expr"] for rule in alerts["groups"][0]["rules"] if rule["alert"] == "BobbinDown"]
    [jobs] = re.findall(r'job=~"(.*?)"', down)
    assert re.fullmatch(jobs, f"{monitor['namespace']}/{monitor['name']}")
