"""Pods may do no more than they need: Kubernetes' own standard `restricted`, and what goes beyond it."""

from __future__ import annotations

from tests.manifests import Rendered, pod_of


def test_pods_meet_the_restricted_standard(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 999
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        assert all(volume.keys() == {"name", "emptyDir"} for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in container["ports"])


def test_pods_know_nothing_of_the_cluster(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        assert pod_of(workload)["automountServiceAccountToken"] is False
        assert pod_of(workload)["enableServiceLinks"] is False, "STORE_PORT would be an address"


def test_pods_have_bounds(rendered: Rendered) -> None:
    for workload in rendered.workloads():
        for container in pod_of(workload)["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}, "throttled streams stutter"


def test_each_service_has_its_own_secrets(rendered: Rendered) -> None:
    """A gateway that is broken into does not give away the database, nor a store the model's key."""
    assert "DATABASE_URL" not in rendered.environment("bobbin-gateway")
    assert not {"OPENAI_API_KEY", "JWT_SECRET", "FILES_SECRET"} & rendered.environment("bobbin-store").keys()


def test_no_secret_is_in_the_open(rendered: Rendered) -> None:
    words = ("TOKEN", "SECRET", "KEY", "PASSWORD", "DATABASE_URL")
    for settings in rendered.all("ConfigMap"):
        assert not [name for name in settings["data"] if any(word in name for word in words)]
