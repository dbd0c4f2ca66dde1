"""What is in our images, and what they may do."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import docker
import pytest

from tests.containers.bobbin import Workshop, started
from tests.containers.engine import PYTHON_IMAGE, Images

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the images

MOST_MB = {"gateway": 200, "store": 120}
"""On top of the base image."""

NOT_IN_AN_IMAGE = {".env", ".secrets", ".git", ".cache", ".venv", "uv", "pip", "uv.lock", "Dockerfile"}
"""Names of what builds leave behind, or should never have seen."""


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module", params=["gateway", "store"])
def image(request: pytest.FixtureRequest, images: Images) -> tuple[str, Any]:
    """A service, and what the engine says of its image."""
    with engine() as client:
        return request.param, client.images.get(getattr(images, request.param)).attrs


def test_it_is_small(image: tuple[str, Any]) -> None:
    name, attrs = image
    with engine() as client:
        base = client.images.get(PYTHON_IMAGE).attrs
    own = (attrs["Size"] - base["Size"]) / 1e6
    print(f"{name}: {attrs['Size'] / 1e6:.0f} MB, {own:.0f} MB of them on top of {PYTHON_IMAGE}")
    assert own < MOST_MB[name]


def test_its_configuration_names_no_secret_and_a_user_without_rights(image: tuple[str, Any]) -> None:
    name, attrs = image
    config = attrs["Config"]
    assert config["User"] == "10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Cmd"] == ["python", "-m", f"bobbin_{name}"]
    assert not [one for one in config["Env"] if any(word in one for word in ("TOKEN", "SECRET", "PASSWORD"))]


def test_its_layers_hold_what_runs_and_nothing_else(image: tuple[str, Any]) -> None:
    """Each layer for itself: what a later one removes is still there for who looks."""
    name, attrs = image
    with engine() as client, tempfile.TemporaryFile() as file:
        base = client.images.get(PYTHON_IMAGE).attrs
        for chunk in client.images.get(attrs["Id"]).save():
            file.write(chunk)
        file.seek(0)
        files = list(_files_of_layers(file, beyond=len(base["RootFS"]["Layers"])))
    found = [path for path in files if NOT_IN_AN_IMAGE & set(PurePosixPath(path).parts)]
    assert found == []
    assert any(path.endswith(f"bobbin_{name}/__main__.py") for path in files)
    other = {"gateway": "bobbin_store", "store": "bobbin_gateway"}[name]
    assert not [path for path in files if other in PurePosixPath(path).parts]
    tops = {PurePosixPath(path).parts[0] for path in files}
    assert tops <= {"app", "data", "etc", "var"}, tops  # etc, var: the user


def _files_of_layers(file: Any, beyond: int) -> Iterator[str]:
    with tarfile.open(fileobj=file) as image:
        manifest = image.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"][beyond:]:
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                yield from (member.name for member in files if not member.isdir())


def test_it_runs_without_rights_on_a_file_system_that_it_cannot_write(
    image: tuple[str, Any], make: Workshop
) -> None:
    machine = {"gateway": make.gateway, "store": make.store}[image[0]]()
    machine.container.with_command("sleep 60")
    with started(machine):
        assert machine.run("id", "-u") == (0, "10001\n")
        assert machine.run("sh", "-c", "touch /app/x || touch /etc/x || touch /x")[0] != 0
        assert machine.run("sh", "-c", "touch /tmp/x")[0] == 0
        code, status = machine.run("grep", "-E", "^(CapEff|NoNewPrivs)", "/proc/1/status")
        assert (code, status.split()) == (0, ["CapEff:", "0" * 16, "NoNewPrivs:", "1"])
