"""The Docker engine, and the images under test: built once per checkout, by `docker compose build`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import docker
from docker.errors import DockerException, ImageNotFound

from tests.conftest import ROOT, missing

CHECKOUT = sha256(str(ROOT).encode()).hexdigest()[:8]
"""Keeps apart what several copies on one machine build and start."""

PYTHON_IMAGE = os.environ.get("PYTHON_IMAGE") or "python:3.13-slim"
POSTGRES_IMAGE = os.environ.get("POSTGRES_IMAGE") or "postgres:17"


class Images(NamedTuple):
    """Their names."""

    gateway: str
    store: str
    proxy: str

    @property
    def environ(self) -> dict[str, str]:
        """What compose.yaml needs to know to use them."""
        return {
            "GATEWAY_IMAGE": self.gateway,
            "STORE_IMAGE": self.store,
            "PROXY_IMAGE": self.proxy,
            "PYTHON_IMAGE": PYTHON_IMAGE,
            "POSTGRES_IMAGE": POSTGRES_IMAGE,
        }


def require_engine() -> None:
    """Go on only where a Docker engine answers that has the images which ours begin with, or can get them."""
    try:
        client = docker.from_env()
    except DockerException as error:
        missing(f"no Docker engine answers: {error}")
    try:
        for image in (PYTHON_IMAGE, POSTGRES_IMAGE):
            try:
                client.images.get(image)
            except ImageNotFound:
                client.images.pull(image)
    except DockerException as error:
        missing(f"no base image: {error}")
    finally:
        client.close()
    for tool in ("compose", "buildx"):
        if subprocess.run(["docker", tool, "version"], capture_output=True, check=False).returncode:
            missing(f"no `docker {tool}`")


def build_images() -> Images:
    """Build what has changed. Of several test processes one does it, the others find it done."""
    images = Images(*(f"bobbin-test-{name}:{CHECKOUT}" for name in ("gateway", "store", "proxy")))
    with (Path(tempfile.gettempdir()) / f"bobbin-images-{CHECKOUT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run("docker", "compose", "build", "--quiet", "store-1", "gateway-1", **images.environ)
        if given := os.environ.get("PROXY_IMAGE"):
            return images._replace(proxy=given)
        caddy = str(ROOT / "tests/containers/caddy")
        _run(
            "docker", "build", "-q", "-t", images.proxy, "--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", caddy
        )
    return images


def _run(*command: str, **environ: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
