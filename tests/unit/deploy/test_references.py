"""What one object says of another is so: a cluster accepts a wrong name without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar

from bobbin_gateway.app import create_app as create_gateway
from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_protocol.settings import read_settings
from bobbin_store.app import create_app as create_store
from bobbin_store.settings import Settings as StoreSettings
from tests.manifests import Manifest, Rendered, pod_of

pytestmark = pytest.mark.filterwarnings("ignore:.*declared using deprecated inferred style")
"""Litestar, of the gateway's path parameters."""


def test_every_selector_picks_pods(rendered: Rendered) -> None:
    selectors = [(each, {"matchLabels": each["spec"]["selector"]}) for each in rendered.all("Service")]
    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"):
        selectors += [(each, each["spec"]["selector"]) for each in rendered.all(kind)]
    for policy in rendered.all("NetworkPolicy"):
        selectors.append((policy, policy["spec"]["podSelector"]))
        selectors += [(policy, selector) for selector in peers(policy)]
    for workload in rendered.workloads():
        spread = pod_of(workload).get("topologySpreadConstraints", [])
        selectors += [(workload, constraint["labelSelector"]) for constraint in spread]
    for owner, selector in selectors:
        assert picked(rendered, selector), f"{named(owner)} picks nothing by {selector}"


def test_a_workload_picks_its_own_pods_only(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        assert picked(rendered, workload["spec"]["selector"]) == [workload]
        for constraint in pod_of(workload).get("topologySpreadConstraints", []):
            assert picked(rendered, constraint["labelSelector"]) == [workload]


def test_services_lead_to_ports_that_are_there(rendered: Rendered) -> None:
    for service in rendered.all("Service"):
        for workload in picked(rendered, {"matchLabels": service["spec"]["selector"]}):
            for port in service["spec"]["ports"]:
                numbers = ports_of(workload)
                assert numbers.get(port["targetPort"]) == port["port"], named(service)


def test_policies_speak_of_ports_that_are_there(rendered: Rendered) -> None:
    for policy in rendered.all("NetworkPolicy"):
        guarded = picked(rendered, policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", []):
            for port in rule["ports"]:
                assert all(port["port"] in ports_of(workload) for workload in guarded), named(policy)
        for rule in policy["spec"].get("egress", []):
            for peer in (each["podSelector"] for each in rule.get("to", []) if "podSelector" in each):
                for workload in picked(rendered, peer):
                    wanted = {port["port"] for port in rule["ports"]}
                    assert wanted <= set(ports_of(workload).values()), named(policy)


def test_every_pod_has_a_policy_for_both_directions(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        directions = {
            direction
            for policy in rendered.all("NetworkPolicy")
            if workload in picked(rendered, policy["spec"]["podSelector"])
            for direction in policy["spec"]["policyTypes"]
        }
        assert directions == {"Ingress", "Egress"}, named(workload)


def test_only_gateways_reach_the_store(rendered: Rendered) -> None:
    policy = rendered.one("NetworkPolicy", "bobbin-store")
    [rule] = policy["spec"]["ingress"]
    [caller] = [picked(rendered, peer["podSelector"]) for peer in rule["from"]]
    assert [named(workload) for workload in caller] == ["Deployment/bobbin-gateway"]


def test_nobody_but_a_port_forward_reaches_a_gateway_without_sign_in(demo: Rendered) -> None:
    assert demo.environment("bobbin-gateway")["AUTH"] == "none"
    [policy] = [
        each
        for each in demo.all("NetworkPolicy")
        if "Ingress" in each["spec"]["policyTypes"]
        if each["metadata"]["name"].startswith("bobbin-gateway")
    ]
    assert policy["spec"]["ingress"] == []
    assert {service["spec"].get("type", "ClusterIP") for service in demo.all("Service")} == {"ClusterIP"}
    assert not [each for kind in ("Ingress", "HTTPRoute", "Gateway") for each in demo.all(kind)]


def test_what_pods_take_in_is_there(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        pod = pod_of(workload)
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            for source in container.get("envFrom", []):
                for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    if key in source:
                        rendered.one(kind, re.escape(source[key]["name"]))


def test_autoscalers_have_something_to_scale(example: Rendered) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in example.all("HorizontalPodAutoscaler")}
    assert scaled == {"bobbin-gateway", "bobbin-store"}
    for name in scaled:
        deployment = example.one("Deployment", name)
        assert "replicas" not in deployment["spec"], "each apply would undo the autoscaler"
        [container] = pod_of(deployment)["containers"]
        assert "cpu" in container["resources"]["requests"], "what a utilization is a share of"


def test_the_route_leads_to_the_gateway(example: Rendered) -> None:
    [rule] = example.one("HTTPRoute", "bobbin")["spec"]["rules"]
    [backend] = rule["backendRefs"]
    ports = example.one("Service", backend["name"])["spec"]["ports"]
    assert backend["port"] in [port["port"] for port in ports]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    [match] = rule["matches"]
    assert match["path"] == {"type": "PathPrefix", "value": "/chatkit"}


def test_all_but_the_probes_is_under_the_path_that_is_let_in(example: Rendered) -> None:
    outside = {path for path in paths(gateway(example)) if not path.startswith("/chatkit")}
    assert outside == {"/health/live", "/health/ready"}


@pytest.mark.parametrize("name", ["bobbin-gateway", "bobbin-store"])
def test_probes_ask_what_is_answered(rendered: Rendered, name: str) -> None:
    app = gateway(rendered) if name == "bobbin-gateway" else store(rendered)
    deployment = rendered.one("Deployment", name)
    [container] = pod_of(deployment)["containers"]
    for kind, path in (("startup", "live"), ("liveness", "live"), ("readiness", "ready")):
        asked = container[f"{kind}Probe"]["httpGet"]
        assert asked["path"] == f"/health/{path}"
        assert asked["path"] in paths(app)
        assert asked["port"] in ports_of(deployment)


def gateway(rendered: Rendered) -> Litestar:
    return create_gateway(read_settings(GatewaySettings, rendered.environment("bobbin-gateway")))


def store(rendered: Rendered) -> Litestar:
    return create_store(read_settings(StoreSettings, rendered.environment("bobbin-store")))


def paths(app: Litestar) -> set[str]:
    return {route.path for route in app.routes}


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def ports_of(workload: Manifest) -> dict[str, int]:
    [container] = pod_of(workload)["containers"]
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def peers(policy: Manifest) -> Iterator[dict[str, Any]]:
    """The selectors of pods of the same namespace that a policy lets in or out to."""
    for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
        for peer in [*rule.get("from", []), *rule.get("to", [])]:
            if "podSelector" in peer:
                yield peer["podSelector"]


def picked(rendered: Rendered, selector: dict[str, Any]) -> list[Manifest]:
    """The workloads whose pods a label selector picks."""
    return [
        each
        for each in rendered.workloads()
        if picks(selector, each["spec"]["template"]["metadata"]["labels"])
    ]


def picks(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
