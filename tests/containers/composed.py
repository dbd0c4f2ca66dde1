"""compose.yaml brought up for real, by the commands that users have, as a project of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.conftest import ROOT
from tests.containers.engine import Images

PREFIX = "bobbin-test-"

SETTLED_S = 150
"""Longer takes no command here."""


class Composed:
    """One project."""

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        self._log = log
        self._following: subprocess.Popen[bytes] | None = None
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "DOCKER_HOST")
        self.environ = {**{name: os.environ[name] for name in kept if name in os.environ}, **environ}
        self.url = ""
        self.up_took = 0.0
        """How long the last `make up` took, s."""

    def run(self, *command: str, **environ: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=SETTLED_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """`make up`."""
        began = time.monotonic()
        said = self.run("make", "-s", "up")
        self.up_took = time.monotonic() - began
        address = re.search(r"^Bobbin is ready: (http://\S+)$", said, re.MULTILINE)
        assert address, said
        self.url = address[1]
        self._follow()

    def find(self) -> None:
        """Look up its address: a proxy that was started again has another port, unless PUBLISH names one."""
        self.url = f"http://{self.run('docker', 'compose', 'port', 'proxy', '8080').strip()}"

    def _follow(self) -> None:
        """Keep what all write from now on, also containers that are replaced."""
        self.unfollow()
        with self._log.open("a") as log:
            command = ["docker", "compose", "logs", "--no-color", "--timestamps", "--follow"]
            self._following = subprocess.Popen(
                command, cwd=ROOT, env=self.environ, stdout=log, stderr=subprocess.DEVNULL
            )

    def unfollow(self) -> None:
        if self._following is not None:
            self._following.terminate()
            self._following.wait()
            self._following = None

    def containers(self) -> dict[str, str]:
        """The id of each container, by its service."""
        lines = self.run("docker", "compose", "ps", "--format", "json").splitlines()
        return {one["Service"]: one["ID"] for one in map(json.loads, lines)}

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database has."""
        as_json = f"SELECT coalesce(json_agg(rows), '[]') FROM ({query.strip()}) AS rows"
        psql = ("psql", "-U", "bobbin", "-d", "bobbin", "-qAt", "-c", as_json)
        return json.loads(self.run("docker", "compose", "exec", "-T", "postgres", *psql))

    def logs(self) -> dict[str, str]:
        """What all wrote."""
        return {"docker compose": self._log.read_text() if self._log.exists() else ""}


@contextmanager
def composed(images: Images, **environ: str) -> Iterator[Composed]:
    """A project, not yet up; nothing of it is left at the end."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        project = Composed(
            Path(folder) / "log",
            {
                **images.environ,
                "COMPOSE_PROJECT_NAME": f"{PREFIX}{uuid4().hex[:8]}",
                "PUBLISH": "127.0.0.1:0",
                "SECRETS_DIR": f"{folder}/secrets",
                **environ,
            },
        )
        try:
            yield project
        finally:
            project.unfollow()
            project.run("docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "1")
