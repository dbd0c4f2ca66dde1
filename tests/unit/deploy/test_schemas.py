"""Every object is one that Kubernetes knows, down to the last field."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_protocol.settings import read_settings
from tests.conftest import ROOT
from tests.manifests import GUIDE, KUBERNETES, Manifest, Rendered, render

OLDEST = "1.30"
"""The first with `preStop: sleep` on by default."""
COMPONENTS = list((KUBERNETES / "components").iterdir())
VERSIONS = [OLDEST, kubernetes_validate.latest_version()]

CUSTOM = {"HTTPRoute", "PodMonitor"}
"""Kinds that a cluster learns from others: Kubernetes has no schemas of them."""


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_match_the_schemas_of_kubernetes(rendered: Rendered, version: str) -> None:
    for manifest in rendered.objects:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_components_that_no_overlay_uses(example: Rendered, tmp_path_factory: pytest.TempPathFactory) -> None:
    used = yaml.safe_load((KUBERNETES / "overlays/example/kustomization.yaml").read_text())["components"]
    others = {folder.name for folder in COMPONENTS} - {Path(component).name for component in used}
    assert others == {"ingress-nginx"}
    shutil.copytree(KUBERNETES, copy_of_all := tmp_path_factory.mktemp("deploy") / "kubernetes")
    kustomization = {"resources": ["../../base"], "components": ["../../components/ingress-nginx"]}
    folder = copy_of_all / "overlays/other"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    other = render(folder)
    ingress = other.one("Ingress", "bobbin")
    kubernetes_validate.validate(ingress, VERSIONS[-1], strict=True)
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    service = path["backend"]["service"]
    ports = other.one("Service", service["name"])["spec"]["ports"]
    assert service["port"]["name"] in [port["name"] for port in ports]
    said = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    settings = read_settings(GatewaySettings, example.environment("bobbin-gateway"))
    assert said["proxy-buffering"] == "off"
    assert int(said["proxy-read-timeout"]) > 2 * settings.keepalive_s
    assert int(said["proxy-body-size"].removesuffix("m")) << 20 > max(
        settings.max_body_bytes, settings.attachment_max_bytes
    )


def test_a_field_that_does_not_exist_is_refused(demo: Rendered) -> None:
    """What the other tests here rest on."""
    for break_it in (misspell_a_probe, mistype_replicas, misspell_a_sleep):
        broken = copy.deepcopy(demo.one("Deployment", "bobbin-store"))
        break_it(broken)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, OLDEST, strict=True)


def misspell_a_probe(deployment: Manifest) -> None:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["readynessProbe"] = container.pop("readinessProbe")


def mistype_replicas(deployment: Manifest) -> None:
    deployment["spec"]["replicas"] = "two"


def misspell_a_sleep(deployment: Manifest) -> None:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["lifecycle"]["preStop"]["sleep"] = {"second": 5}


def test_the_guide_names_what_is_there() -> None:
    named = re.findall(r"(?:deploy/kubernetes/|\b(?=overlays/|components/))([\w./-]+\w)", GUIDE.read_text())
    assert {"overlays/demo", "overlays/example"} <= set(named)
    assert [path for path in named if not (KUBERNETES / path).exists()] == []
    for part in ("base", *(f"components/{each.name}" for each in COMPONENTS)):
        assert f"`{part}`" in GUIDE.read_text(), f"{part} is not in {GUIDE.relative_to(ROOT)}"
