"""The Kubernetes manifests as a cluster would be given them: rendered by the real kustomize, with secrets."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
GUIDE = ROOT / "docs/kubernetes.md"

Manifest = dict[str, Any]

_KUBECTL = Path(sys.executable).with_name("kubectl")


class Rendered:
    """All objects of one overlay."""

    def __init__(self, objects: list[Manifest]) -> None:
        self.objects = objects

    def all(self, kind: str) -> list[Manifest]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """The object of that kind and name, where kustomize may have added a hash to the name."""
        pattern = rf"{name}(-[a-z0-9]{{10}})?" if kind in {"ConfigMap", "Secret"} else name
        [found] = [each for each in self.all(kind) if re.fullmatch(pattern, each["metadata"]["name"])]
        return found

    def workloads(self) -> list[Manifest]:
        return [*self.all("Deployment"), *self.all("StatefulSet")]

    def environment(self, name: str) -> dict[str, str]:
        """What the first container of a Deployment finds in its environment."""
        [container] = pod_of(self.one("Deployment", name))["containers"]
        environ: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                environ |= self._named("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                environ |= _texts(self._named("Secret", source["secretRef"]["name"]))
        return environ | {variable["name"]: variable["value"] for variable in container.get("env", [])}

    def _named(self, kind: str, name: str) -> Manifest:
        [found] = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found


def objects_of_the_guide() -> Rendered:
    """The namespace and Secrets that an operator makes by the guide's own commands."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    [script] = [block for block in blocks if "create secret" in block]
    given = {"OPENAI_API_KEY": "sk-mine", "DATABASE_URL": "postgresql://bobbin:pw@db.example.org/bobbin"}
    return Rendered(_objects(["sh", "-euc", _DRY_RUN + script], KUBECTL=str(_KUBECTL), **given))


_DRY_RUN = """
kubectl() {
    case "$1" in apply) return ;; esac
    echo ---
    "$KUBECTL" "$@" --dry-run=client --output=yaml
}
"""


def render(folder: Path) -> Rendered:
    """What `kubectl apply -k` would send."""
    return Rendered(_objects([str(_KUBECTL), "kustomize", str(folder)]))


def _objects(command: list[str], **environ: str) -> list[Manifest]:
    environ |= {"PATH": os.environ["PATH"], "KUBECONFIG": os.devnull}
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return [found for found in yaml.safe_load_all(run.stdout) if found]


def pod_of(workload: Manifest) -> Manifest:
    return workload["spec"]["template"]["spec"]


def _texts(secret: Manifest) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
