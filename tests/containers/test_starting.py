"""Starting: how long it takes, two at once, on an older schema, and with wrong settings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest

from bobbin_store.migrate import all_migrations, migrate
from tests.client import Client, answers_of, text_of
from tests.containers.bobbin import DATABASE_URL, PASSWORD, Workshop, started
from tests.containers.crowd import bearer
from tests.containers.machine import Machine

pytestmark = pytest.mark.timeout(240)  # whoever comes first builds the images

START_S = 30.0
"""Generous: the machine may be busy with other tests."""


@pytest.fixture(scope="module")
def postgres(make: Workshop) -> Iterator[Machine]:
    """One server for the databases of all these tests."""
    with started(one := make.postgres()):
        yield one


@pytest.fixture
async def database(postgres: Machine) -> tuple[str, str]:
    """A new database: its DSN from outside, and from within."""
    name = f"bobbin_{uuid4().hex}"
    address = postgres.url.removeprefix("http://")
    server = f"postgresql://bobbin:{PASSWORD.replace(' ', '%20')}@{address}/bobbin"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    await connection.close()
    outside, inside = (urlunsplit(urlsplit(dsn)._replace(path=f"/{name}")) for dsn in (server, DATABASE_URL))
    return outside, inside


def test_how_long_a_start_takes(make: Workshop, database: tuple[str, str]) -> None:
    store, gateway = make.store(DATABASE_URL=database[1]), make.gateway()
    try:
        measure(store)
        measure(gateway)
    finally:
        store.remove()
        gateway.remove()


def measure(machine: Machine) -> None:
    began = time.monotonic()
    machine.start().await_answer()
    answered = time.monotonic() - began
    machine.await_healthy()
    healthy = time.monotonic() - began
    print(f"{machine.name}: first answer after {answered:.1f} s, healthy after {healthy:.1f} s")
    assert healthy < START_S


async def test_two_stores_start_at_once_on_an_empty_database(
    make: Workshop, database: tuple[str, str]
) -> None:
    stores = [make.store(f"store-{number}", DATABASE_URL=database[1]) for number in (1, 2)]
    with started(*stores):
        for store in stores:
            store.await_answer()
        logs = "".join(store.logs() for store in stores)
    connection = await asyncpg.connect(database[0])
    rows = await connection.fetch("SELECT number FROM bobbin.migrations ORDER BY number")
    await connection.close()
    assert [row["number"] for row in rows] == [one.number for one in all_migrations()]
    assert logs.count("migrated") == len(rows)  # each of them by one of the two
    assert "Traceback" not in logs


def document(item_id: str, kind: str, second: int, **fields: object) -> str:
    created_at = f"2026-01-05T10:00:{second:02}Z"
    return json.dumps(
        {"id": item_id, "thread_id": "thr_old", "created_at": created_at, "type": kind, **fields}
    )


OLD_ITEMS = [
    (
        "msg_1",
        "user_message",
        document(
            "msg_1",
            "user_message",
            1,
            content=[{"type": "input_text", "text": "Do you remember?"}],
            attachments=[],
            inference_options={},
        ),
    ),
    (
        "msg_2",
        "assistant_message",
        document(
            "msg_2",
            "assistant_message",
            2,
            content=[{"type": "output_text", "text": "I shall.", "annotations": []}],
        ),
    ),
]


async def fill_old_schema(dsn: str) -> None:
    """A conversation as the first store kept it, in the schema of its time."""
    connection = await asyncpg.connect(dsn)
    assert await migrate(connection, all_migrations()[:1]) == 1
    await connection.execute("SET search_path TO bobbin")
    await connection.execute(
        "INSERT INTO threads (owner_id, id, title, status, metadata, last_seq)"
        """ VALUES ('old', 'thr_old', 'Of old', '{"type":"active"}', '{}', 2)"""
    )
    for seq, (item_id, kind, data) in enumerate(OLD_ITEMS, 1):
        await connection.execute(
            "INSERT INTO items (owner_id, thread_id, id, seq, type, hidden, turn_id, created_at, data)"
            " VALUES ('old', 'thr_old', $1, $2, $3, false, 'trn_old', now(), $4)",
            *(item_id, seq, kind, data),
        )
    await connection.execute(
        "INSERT INTO turns (owner_id, id, thread_id, message_id, state, ended_at)"
        " VALUES ('old', 'trn_old', 'thr_old', 'msg_1', 'completed', now())"
    )
    await connection.close()


async def test_a_conversation_in_an_older_schema_goes_on(make: Workshop, database: tuple[str, str]) -> None:
    await fill_old_schema(database[0])
    store, gateway, model = make.store(DATABASE_URL=database[1]), make.gateway(), make.model()
    with started(store, gateway, model):
        gateway.await_answer()
        model.await_answer("/v1/models")
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            chat = Client(http, bearer("old"))
            assert [thread["title"] for thread in (await chat.call("threads.list"))["data"]] == ["Of old"]
            events = await chat.say("thr_old", "And now?", model="demo")
            assert [text for text in answers_of(events) if "Do you remember?" in text], events
            items = (await chat.call("items.list", thread_id="thr_old", order="asc"))["data"]
        texts = [text_of(item) for item in items]
        assert texts == ["Do you remember?", "I shall.", "And now?", *answers_of(events)]


def ended(machine: Machine) -> tuple[int, list[str]]:
    """Exit code of a start that fails, and what it said to standard error, but for its right settings."""
    with started(machine):
        code = machine.await_end()
        wrapped = machine.container.get_wrapped_container()
        lines = wrapped.logs(stdout=False, stderr=True).decode().splitlines()
        assert "Traceback" not in lines, lines
        return code, [line for line in lines if not line.startswith('{"settings": ')]


def test_a_gateway_names_all_its_wrong_settings(make: Workshop) -> None:
    wrong = make.gateway(STORE_TOKEN="", AUTH="jwt", JWT_SECRET="short", GATEWAY_PORT="x", LEASE_S="0.1")
    code, lines = ended(wrong)
    assert code == 1
    assert len(lines) == 4, lines
    for name in ("STORE_TOKEN", "JWT_SECRET", "GATEWAY_PORT", "LEASE_S"):
        assert any(line.startswith("bobbin-gateway: ") and name in line for line in lines), lines
    assert "short" not in "".join(lines).replace("shorter", "")


def test_a_store_names_all_its_wrong_settings(make: Workshop) -> None:
    code, lines = ended(
        make.store(STORE_TOKEN="short", DATABASE_URL="mysql://x", STORE_POOL_SIZE="none", STORE_PORT="0")
    )
    assert code == 1
    assert len(lines) == 4, lines
    for name in ("STORE_TOKEN", "DATABASE_URL", "STORE_POOL_SIZE", "STORE_PORT"):
        assert any(line.startswith("bobbin-store: ") and name in line for line in lines), lines


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DATABASE_URL": "postgresql://bobbin:guess@postgres/bobbin"}, "password authentication failed"),
        (
            {"DATABASE_URL": "postgresql://bobbin@nowhere/bobbin", "STORE_DATABASE_WAIT_S": "1"},
            "does not answer",
        ),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        (
            {"STORE_TOKEN": "", "STORE_TOKEN_FILE": "/run/secrets/nothing"},
            "STORE_TOKEN_FILE=/run/secrets/nothing",
        ),
    ],
    ids=["wrong password", "no database there", "no database named", "no secret there"],
)
def test_a_store_that_cannot_start_says_why(
    make: Workshop, postgres: Machine, settings: dict[str, str], said: str
) -> None:
    code, lines = ended(make.store(**settings))
    assert code == 1
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert "guess" not in lines[0]


async def test_a_store_older_than_the_schema_leaves_it_alone(
    make: Workshop, database: tuple[str, str]
) -> None:
    connection = await asyncpg.connect(database[0])
    await migrate(connection, all_migrations())
    newer = len(all_migrations()) + 1
    await connection.execute("INSERT INTO bobbin.migrations (number, name) VALUES ($1, 'of tomorrow')", newer)
    await connection.close()
    code, lines = ended(make.store(DATABASE_URL=database[1]))
    assert code == 1
    assert len(lines) == 1
    assert f"number {newer}" in lines[0]
