"""The manifests' times, added up from the settings and the code that they wait for."""

from __future__ import annotations

from typing import Any

import pytest

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_gateway.turns.engine import STOPPING_S
from bobbin_protocol.settings import read_settings
from bobbin_store.migrate import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS
from bobbin_store.settings import Settings as StoreSettings
from tests.manifests import GUIDE, Rendered, pod_of

RESERVE_S = 10
"""For granian to end its workers, and for machines that are busy."""
PROPAGATION_S = 5
"""How long proxies may need to hear that a pod has gone, at least."""


def test_a_gateway_is_given_the_time_that_it_takes_to_stop(rendered: Rendered) -> None:
    settings = gateway(rendered)
    stopping_s = settings.drain_notice_s + settings.shutdown_grace_s + STOPPING_S
    pod = pod_of(rendered.one("Deployment", "bobbin-gateway"))
    assert pod["terminationGracePeriodSeconds"] == stopping_s + RESERVE_S
    assert "lifecycle" not in pod["containers"][0], "a preStop hook would take its time from the same period"


def test_a_gateway_serves_until_proxies_know_that_it_stops(rendered: Rendered) -> None:
    assert gateway(rendered).drain_notice_s >= PROPAGATION_S


def test_a_rollout_cuts_no_answer_short(rendered: Rendered) -> None:
    assert gateway(rendered).shutdown_grace_s >= gateway(rendered).turn_timeout_s


def test_a_store_is_given_the_time_that_it_takes_to_stop(rendered: Rendered) -> None:
    pod = pod_of(rendered.one("Deployment", "bobbin-store"))
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause_s >= PROPAGATION_S
    stopping_s = pause_s + store(rendered).store_stop_timeout_s
    assert pod["terminationGracePeriodSeconds"] == stopping_s + RESERVE_S


def test_a_store_lets_its_calls_end(rendered: Rendered) -> None:
    """The longest wait that a gateway has for one."""
    assert store(rendered).store_stop_timeout_s >= gateway(rendered).store_timeout_s


def test_a_store_is_given_the_time_that_it_takes_to_migrate(rendered: Rendered) -> None:
    starting_s = store(rendered).store_database_wait_s + (LOCK_TIMEOUT_MS + STATEMENT_TIMEOUT_MS) / 1000
    deployment = rendered.one("Deployment", "bobbin-store")
    given_s = patience_s(probe(rendered, "bobbin-store", "startup"))
    assert given_s >= starting_s
    assert deployment["spec"]["progressDeadlineSeconds"] > given_s + deployment["spec"]["minReadySeconds"]


def test_a_gateway_stays_in_its_service_while_messages_wait_for_a_store(rendered: Rendered) -> None:
    ready = probe(rendered, "bobbin-gateway", "readiness")
    soonest_s = (ready["failureThreshold"] - 1) * ready["periodSeconds"]
    assert soonest_s >= gateway(rendered).begin_retry_s


@pytest.mark.parametrize("name", ["bobbin-gateway", "bobbin-store"])
def test_a_pod_is_out_of_its_service_before_it_is_restarted(rendered: Rendered, name: str) -> None:
    dead_s = patience_s(probe(rendered, name, "liveness"))
    assert dead_s > patience_s(probe(rendered, name, "readiness"))
    assert dead_s > gateway(rendered).lease_s, "others take over its turns first"


def test_a_rollout_starts_before_it_stops(rendered: Rendered) -> None:
    for name in ("bobbin-gateway", "bobbin-store"):
        strategy = rendered.one("Deployment", name)["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_disruptions_take_one_pod_of_several(rendered: Rendered) -> None:
    for name in ("bobbin-gateway", "bobbin-store"):
        assert rendered.one("PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1
        scalers = {each["metadata"]["name"]: each for each in rendered.all("HorizontalPodAutoscaler")}
        deployment = rendered.one("Deployment", name)["spec"]
        assert (scalers[name]["spec"]["minReplicas"] if name in scalers else deployment["replicas"]) >= 2


def test_gateways_go_one_at_a_time(example: Rendered) -> None:
    spec = example.one("HorizontalPodAutoscaler", "bobbin-gateway")["spec"]
    [policy] = spec["behavior"]["scaleDown"]["policies"]
    grace_s = pod_of(example.one("Deployment", "bobbin-gateway"))["terminationGracePeriodSeconds"]
    assert policy["value"] == 1
    assert policy["periodSeconds"] >= grace_s
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= policy["periodSeconds"]


def test_the_guide_has_the_same_times(example: Rendered) -> None:
    settings = gateway(example)
    grace_s = {
        name: pod_of(example.one("Deployment", name))["terminationGracePeriodSeconds"] for name in PODS
    }
    rows = [
        f"| still takes requests | `DRAIN_NOTICE_S` | {settings.drain_notice_s:.0f} s |",
        f"| ends what runs | `SHUTDOWN_GRACE_S` | {settings.shutdown_grace_s:.0f} s |",
        f"| `STORE_STOP_TIMEOUT_S` | {store(example).store_stop_timeout_s} s |",
        f"| hands over, stores | | {STOPPING_S:.0f} s |",
        f"| reserve | | {RESERVE_S} s | | {RESERVE_S} s |",
        f"| | {grace_s['bobbin-gateway']} s | | {grace_s['bobbin-store']} s |",
    ]
    assert [row for row in rows if row not in GUIDE.read_text()] == []


PODS = ["bobbin-gateway", "bobbin-store"]


def gateway(rendered: Rendered) -> GatewaySettings:
    return read_settings(GatewaySettings, rendered.environment("bobbin-gateway"))


def store(rendered: Rendered) -> StoreSettings:
    return read_settings(StoreSettings, rendered.environment("bobbin-store"))


def probe(rendered: Rendered, name: str, kind: str) -> dict[str, Any]:
    [container] = pod_of(rendered.one("Deployment", name))["containers"]
    return container[f"{kind}Probe"]


def patience_s(probe: dict[str, Any]) -> float:
    """How long it may fail before that has consequences, at most."""
    return probe["failureThreshold"] * probe["periodSeconds"]
