"""What `make up`, `roll`, `backup` and `restore` ask of Docker, played here, and when they refuse."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_gateway.turns.engine import STOPPING_S
from bobbin_telemetry.serving import FLUSH_S
from tests.conftest import ROOT

DOCKER = r"""#!/bin/sh
echo "$*" >>calls
echo "$COMPOSE_PROFILES|$MODEL|$OTEL_EXPORTER_OTLP_ENDPOINT" >told
case "$*" in
"compose config --services") printf '%s\n' proxy gateway-1 store-1 gateway-2 store-2 postgres ;;
"compose config gateway-"*)
    printf '      AUTH: %s\n      ALLOW_ANONYMOUS: "%s"\n' "${AUTH:-none}" "${ALLOW_ANONYMOUS:-1}" ;;
"compose ps --all --quiet gateway-"*) echo id ;;
"inspect "*) printf 'AUTH=%s\nALLOW_ANONYMOUS=1\nPATH=/bin\n' "${RUNNING_AUTH:-none}" ;;
*sh\ -c*) cat >/dev/null; exit "${LOADED:-0}" ;;
*port*) echo 127.0.0.1:8000 ;;
esac
"""


class Scripts:
    """The scripts in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "deploy", folder / "deploy")
        (folder / "bin").mkdir()
        docker = folder / "bin/docker"
        docker.write_text(DOCKER)
        docker.chmod(0o755)

    def run(self, name: str, **environ: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["sh", f"deploy/{name}.sh"],
            cwd=self.folder,
            env={"PATH": path, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self, name: str, **environ: str) -> list[str]:
        """The calls of Docker that change something."""
        done = self.run(name, **environ)
        assert done.returncode == 0, done.stderr
        return self.calls()

    def refused(self, name: str, **environ: str) -> str:
        """What it says when it does nothing."""
        done = self.run(name, **environ)
        assert done.returncode == 1
        assert self.calls() == []
        return done.stderr

    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if re.match(r"compose (build|up|start|stop|run)", line)]

    def told(self) -> list[str]:
        """What compose.yaml finds in the environment: profiles, model, collector."""
        return (self.folder / "told").read_text().strip().split("|")


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


@pytest.fixture
def backup(scripts: Scripts) -> str:
    """The folder of one, empty."""
    folder = scripts.folder / "backup"
    folder.mkdir()
    (folder / "database").write_text("a dump")
    subprocess.run(["tar", "-cf", folder / "attachments.tar", "-T", "/dev/null"], check=True)
    return "backup"


def test_a_setting_in_a_file_is_as_good_as_one_in_the_environment(scripts: Scripts) -> None:
    (scripts.folder / ".env").write_text(
        "COMPOSE_PROFILES=\"metrics\"\nMODEL='mine' # of all\nSECRETS_DIR=kept\nSTORE_IMAGE=theirs\n"
    )
    (scripts.folder / "kept").mkdir(mode=0o755)
    asked = scripts.asked("up", GATEWAY_IMAGE="")
    assert scripts.told() == ["metrics,demo", "mine", "http://otel-collector:4318"]
    assert stat.S_IMODE((scripts.folder / "kept").stat().st_mode) == 0o700
    assert len((scripts.folder / "kept/store_token").read_text()) == 48
    assert asked[0] == "compose build gateway-1"
    assert scripts.asked("up", MODEL="another", STORE_IMAGE="")
    assert scripts.told()[1] == "another"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "OPENAI_BASE_URL"])
def test_who_has_a_model_gets_no_demo(scripts: Scripts, name: str) -> None:
    assert "demo model" in scripts.run("up").stdout
    (scripts.folder / ".env").write_text(f"{name}=mine\n")
    assert "demo model" not in scripts.run("up").stdout
    assert scripts.told() == ["", "", ""]


@pytest.mark.parametrize(
    ("given", "built"),
    [
        ({}, ["compose build store-1 gateway-1"]),
        ({"STORE_IMAGE": "theirs"}, ["compose build gateway-1"]),
        ({"STORE_IMAGE": "theirs", "GATEWAY_IMAGE": "theirs"}, []),
    ],
)
def test_images_that_are_somebody_elses_are_not_built(
    scripts: Scripts, given: dict[str, str], built: list[str]
) -> None:
    up = "compose up --detach --wait --remove-orphans --no-build"
    assert [" ".join(call.split()) for call in scripts.asked("up", **given)] == [*built, up]


@pytest.mark.parametrize("name", ["up", "roll"])
@pytest.mark.parametrize("address", ["0.0.0.0:8000", "8000", "[::]:8000", "192.168.1.2:80"])
def test_others_come_in_without_signing_in_only_on_purpose(scripts: Scripts, name: str, address: str) -> None:
    assert "AUTH=jwt" in scripts.refused(name, PUBLISH=address)
    scripts.asked(name, PUBLISH=address, ALLOW_ANONYMOUS="1")
    scripts.asked(name, PUBLISH=address, AUTH="jwt", RUNNING_AUTH="jwt")
    scripts.asked(name, PUBLISH="127.0.0.1:0")


def test_rolling_replaces_stores_before_gateways(scripts: Scripts) -> None:
    asked = scripts.asked("roll", STORE_IMAGE="theirs", GATEWAY_IMAGE="theirs")
    assert [call.split()[-1] for call in asked] == ["store-2", "store-1", "gateway-2", "gateway-1"]


@pytest.mark.parametrize("name", ["roll", "restore"])
def test_what_was_said_to_make_up_alone_is_not_forgotten_in_silence(
    scripts: Scripts, name: str, backup: str
) -> None:
    said = scripts.refused(name, RUNNING_AUTH="jwt", FROM=backup)
    assert "has ALLOW_ANONYMOUS=1 AUTH=jwt, and would get ALLOW_ANONYMOUS=1 AUTH=none" in said


def test_a_restore_that_fails_leaves_all_at_work(scripts: Scripts, backup: str) -> None:
    done = scripts.run("restore", FROM=backup, LOADED="1")
    assert done.returncode == 1
    *_, stopped, started = scripts.calls()
    assert stopped == "compose stop store-2 store-1 gateway-2 gateway-1"
    assert started == stopped.replace("stop", "start")


def test_a_restore_that_succeeds_starts_all(scripts: Scripts, backup: str) -> None:
    asked = scripts.asked("restore", FROM=backup)
    assert asked[-1] == "compose up --detach --wait --no-build"
    assert not [call for call in asked if call.startswith("compose start")]


@pytest.mark.parametrize("name", ["database", "attachments.tar"])
def test_nothing_is_stopped_for_half_a_backup(scripts: Scripts, backup: str, name: str) -> None:
    (scripts.folder / backup / name).unlink()
    done = scripts.run("restore", FROM=backup)
    assert done.returncode != 0
    assert name in done.stderr
    assert scripts.calls() == []


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_another_database_is_not_theirs(scripts: Scripts, backup: str, name: str) -> None:
    url = "postgresql://bobbin@db.example.org/bobbin"
    assert "docs/operations.md" in scripts.refused(name, DATABASE_URL=url, FROM=backup)


def test_gateways_of_compose_are_given_the_time_that_they_take_to_stop() -> None:
    gateway = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["gateway-1"]
    given = {
        name: float(re.sub(r"^\$\{\w+:-(.*?)s?\}$", r"\1", text))
        for name, text in {**gateway["environment"], "stop": gateway["stop_grace_period"]}.items()
        if name in {"DRAIN_NOTICE_S", "SHUTDOWN_GRACE_S", "stop"}
    }
    stopping_s = given["DRAIN_NOTICE_S"] + given["SHUTDOWN_GRACE_S"] + STOPPING_S + FLUSH_S
    assert given["stop"] >= stopping_s + 10
    assert given["SHUTDOWN_GRACE_S"] >= GatewaySettings(store_token="t" * 16).turn_timeout_s
