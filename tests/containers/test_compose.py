"""`make up`, `make roll`, `make logs` and `make down`: compose.yaml as users have it, Caddy before it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from bobbin_gateway.settings import Settings as GatewaySettings
from bobbin_store.settings import Settings as StoreSettings
from tests.chaos.audit import ITEMS, TURNS
from tests.client import Client, answers_of, deltas_of, message, text_of, thread_id_of
from tests.conftest import ROOT
from tests.containers.composed import Composed, composed
from tests.containers.crowd import compare, crowd
from tests.containers.engine import Images

pytestmark = pytest.mark.timeout(300)  # whoever comes first builds the images


@pytest.fixture(scope="module")
def project(images: Images) -> Iterator[Composed]:
    """compose.yaml, brought up from nothing but the images; later tests find it at work."""
    with composed(images, MODELS="*") as one:
        one.up()
        yield one


async def test_from_make_up_to_the_first_token(project: Composed) -> None:
    """No key is set: the demo model answers, through the proxy, at the address that was printed."""
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        client = Client(http)
        began = time.monotonic()
        async with client.stream("threads.create", input=message("Hello")) as events:
            async for event in events:
                if deltas_of([event]):
                    break
        token = time.monotonic() - began
        first = await client.create("Remember me")
        second = await client.say(thread_id_of(first), "Do you?")
    print(f"make up: {project.up_took:.1f} s; first token after {project.up_took + token:.1f} s")
    assert "Remember me" in answers_of(first)[0]
    assert answers_of(second) == [deltas_of(second)]
    assert "one earlier message" in answers_of(second)[0]


def test_secrets_are_made_once_and_are_in_no_environment(project: Composed) -> None:
    folder = Path(project.environ["SECRETS_DIR"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = [file.read_text() for file in folder.iterdir()]
    assert len(secrets) == len(set(secrets)) == 3
    ids = project.run("docker", "compose", "ps", "-q").split()
    for one in json.loads(project.run("docker", "inspect", *ids)):
        environ = " ".join(one["Config"]["Env"])
        assert not [secret for secret in secrets if secret in environ]
    assert not [secret for secret in secrets if secret in project.run("docker", "compose", "logs")]


async def test_rolling_out_loses_nothing(project: Composed) -> None:
    """Both stores and both gateways are replaced under 50 answers that are being read.

    Some clients cannot resume and send nothing again: they too get all of each answer.
    """
    before = project.containers()
    async with crowd(project.url, users=75, plain=6) as people:
        running = [await people.until_running(50)]
        began = time.monotonic()
        rolling = asyncio.create_task(asyncio.to_thread(project.run, "make", "-s", "roll"))
        while not rolling.done():
            await asyncio.wait([rolling], timeout=0.1)
            running.append(people.running)
        took = time.monotonic() - began
        print(await rolling)
        await people.until_running(50)
    findings = compare(people, project.rows(TURNS), project.rows(ITEMS), owner="local")
    usual = statistics.median(running)
    print(f"make roll: {took:.0f} s; answers running: {usual:.0f}, never less than {min(running)};")
    print(f"longest silence {people.silence:.1f} s; {dict(people.tally)}, {dict(findings.states)}")
    assert usual >= 50
    after = project.containers()
    replaced = {name for name in before if before[name] != after[name]}
    assert replaced == {"store-1", "store-2", "gateway-1", "gateway-2"}
    assert findings.problems == []
    assert people.failures(project.logs()["docker compose"]) == []
    assert set(findings.states) == {"completed"}
    assert findings.counts["answers as read"] == len(people.said)


async def test_data_survives_make_down_and_make_up(project: Composed) -> None:
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        thread_id = thread_id_of(await Client(http).create("Keep this"))
    project.run("make", "-s", "down")
    assert project.containers() == {}
    project.up()
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        items = (await Client(http).call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert text_of(items[0]) == "Keep this"
    assert "Keep this" in text_of(items[1])


async def test_a_backup_brings_back_what_was_lost(project: Composed, tmp_path: Path) -> None:
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        client = Client(http)
        thread_id = thread_id_of(await client.create("Worth keeping"))
        project.run("make", "-s", "backup", TO=str(tmp_path / "backup"))
        await client.call("threads.delete", thread_id=thread_id)
        assert (await client.post({"type": "threads.get_by_id", "params": {"thread_id": thread_id}})).is_error
    project.run("make", "-s", "restore", FROM=str(tmp_path / "backup"))
    project.find()
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        items = (await Client(http).call("items.list", thread_id=thread_id, order="asc"))["data"]
    assert text_of(items[0]) == "Worth keeping"


async def test_make_logs_follows_all_of_them(project: Composed) -> None:
    wanted = {"gateway-1", "gateway-2", "store-1", "store-2", "postgres", "proxy"}
    following = await asyncio.create_subprocess_exec(
        *("make", "-s", "logs"),
        cwd=ROOT,
        env=project.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert following.stdout is not None
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=project.url, timeout=30) as http:
            await Client(http).create("Something to log")
            while wanted:
                line = (await following.stdout.readline()).decode()
                assert line, "it does not go on"
                wanted -= {name for name in wanted if re.search(rf"{name}(-1)?\s+\|", line)}
    except TimeoutError:
        pytest.fail(f"nothing of {wanted}")
    finally:
        os.killpg(following.pid, signal.SIGTERM)
        await following.wait()


FIXED = {
    "gateway": {"GATEWAY_HOST", "GATEWAY_PORT", "STORE_URL", "STORE_TOKEN", "FILES_SECRET", "DATA_DIR"},
    "store": {"STORE_HOST", "STORE_PORT", "STORE_TOKEN", "DATABASE_PASSWORD", "DATA_DIR"},
}
"""What compose.yaml, the images or the secrets say themselves."""


@pytest.mark.parametrize(("service", "kind"), [("gateway", GatewaySettings), ("store", StoreSettings)])
def test_every_setting_reaches_its_service(images: Images, service: str, kind: type[msgspec.Struct]) -> None:
    names = {field.name.upper() for field in msgspec.structs.fields(kind)} - FIXED[service]
    with composed(images, **{name: f"value of {name}" for name in names}) as project:
        config = json.loads(project.run("docker", "compose", "config", "--format", "json"))
    for number in (1, 2):
        environ = config["services"][f"{service}-{number}"]["environment"]
        assert {name for name in names if environ.get(name) != f"value of {name}"} == set()


def test_https_needs_an_address_and_somebody_who_signs_in(images: Images) -> None:
    overlay = {"COMPOSE_FILE": "compose.yaml:deploy/https.yaml", "SITE_ADDRESS": "chat.example.org"}
    with composed(images, **overlay) as project:
        config = json.loads(project.run("docker", "compose", "config", "--format", "json"))
    services = config["services"]
    assert sorted((port["published"], port["target"]) for port in services["proxy"]["ports"]) == [
        ("443", 443),
        ("443", 443),
        ("80", 80),
    ]
    assert services["proxy"]["environment"]["SITE_ADDRESS"] == "chat.example.org"
    for number in (1, 2):
        environ = services[f"gateway-{number}"]["environment"]
        assert environ["ALLOW_ANONYMOUS"] == "0"
        assert environ["PUBLIC_URL"] == "https://chat.example.org"
