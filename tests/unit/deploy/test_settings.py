"""What the pods get as their environment is what the services take."""

from __future__ import annotations

import base64

import msgspec
import pytest

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_protocol.settings import BrokenSettings, read_settings
from bobbin_store.settings import Settings as StoreSettings
from tests.manifests import KUBERNETES, Rendered, pod_of, render

SERVICES = {"bobbin-gateway": GatewaySettings, "bobbin-store": StoreSettings}


@pytest.mark.parametrize(("name", "kind"), SERVICES.items())
def test_the_services_take_their_settings(rendered: Rendered, name: str, kind: type[msgspec.Struct]) -> None:
    environ = rendered.environment(name)
    assert environ.keys() <= {field.upper() for field in kind.__struct_fields__}, "no such setting"
    read_settings(kind, environ)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_where_the_services_listen(rendered: Rendered, name: str) -> None:
    settings = gateway(rendered) if name == "bobbin-gateway" else store(rendered)
    host, port = (
        (settings.gateway_host, settings.gateway_port)
        if isinstance(settings, GatewaySettings)
        else (settings.store_host, settings.store_port)
    )
    [container] = pod_of(rendered.one("Deployment", name))["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]}["http"] == port
    assert host == "0.0.0.0", "the kubelet's probes come to the pod's address"


@pytest.mark.parametrize("name", SERVICES)
def test_metrics_are_told_where_they_are_scraped(rendered: Rendered, name: str) -> None:
    settings = gateway(rendered) if name == "bobbin-gateway" else store(rendered)
    told = (
        settings.gateway_metrics_port
        if isinstance(settings, GatewaySettings)
        else settings.store_metrics_port
    )
    [container] = pod_of(rendered.one("Deployment", name))["containers"]
    scraped = {each["name"]: each["containerPort"] for each in container["ports"]}.get("metrics", 0)
    assert told == scraped


def test_the_gateway_finds_the_store(rendered: Rendered) -> None:
    port = rendered.one("Service", "bobbin-store")["spec"]["ports"][0]["port"]
    assert gateway(rendered).store_url == f"http://bobbin-store:{port}"
    assert gateway(rendered).store_token == store(rendered).store_token


def test_the_demo_finds_its_database_and_its_model(demo: Rendered) -> None:
    [postgres] = pod_of(demo.one("StatefulSet", "bobbin-postgres"))["containers"]
    given = {each["name"]: each["value"] for each in postgres["env"]}
    [password] = demo.one("Secret", "bobbin-postgres")["data"].values()
    url = (
        f"postgresql://{given['POSTGRES_USER']}:{plain(password)}@bobbin-postgres:5432/{given['POSTGRES_DB']}"
    )
    assert store(demo).database_url == url
    assert demo.one("Service", "bobbin-postgres")["spec"]["ports"][0]["port"] == 5432
    port = demo.one("Service", "bobbin-demo-model")["spec"]["ports"][0]["port"]
    assert gateway(demo).openai_base_url == f"http://bobbin-demo-model:{port}/v1"


def test_the_base_lets_nobody_in_before_sign_in_is_set_up() -> None:
    environ = render(KUBERNETES / "base").one("ConfigMap", "bobbin-gateway")["data"]
    with pytest.raises(BrokenSettings, match="AUTH=jwt needs either JWT_SECRET or JWT_JWKS_URL"):
        read_settings(GatewaySettings, {**environ, "STORE_TOKEN": "t" * 32})


def test_files_are_taken_only_where_all_gateways_share_them(demo: Rendered, example: Rendered) -> None:
    assert gateway(demo).attachment_max_bytes == 0
    assert gateway(example).attachment_max_bytes > 0
    assert gateway(example).attachments_url.startswith("s3://")


def test_the_database_has_connections_for_all_stores(example: Rendered) -> None:
    settings = store(example)
    assert settings.store_workers == 1, "here pods are added, not workers"
    most = example.one("HorizontalPodAutoscaler", "bobbin-store")["spec"]["maxReplicas"]
    surge = example.one("Deployment", "bobbin-store")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert (most + surge) * (settings.store_pool_size + 1) <= 97, (
        "PostgreSQL allows 100 connections by default, 3 of them for superusers"
    )


def test_memory_is_there_for_what_may_be_buffered(rendered: Rendered) -> None:
    settings = gateway(rendered)
    [container] = pod_of(rendered.one("Deployment", "bobbin-gateway"))["containers"]
    limit = container["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert 4 * settings.gateway_workers * settings.journal_buffer_bytes <= int(limit.removesuffix("Gi")) << 30


def gateway(rendered: Rendered) -> GatewaySettings:
    return read_settings(GatewaySettings, rendered.environment("bobbin-gateway"))


def store(rendered: Rendered) -> StoreSettings:
    return read_settings(StoreSettings, rendered.environment("bobbin-store"))


def plain(value: str) -> str:
    return base64.b64decode(value).decode()
