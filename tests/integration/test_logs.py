"""The logs of both services in bad times: a request can be followed, nobody's words or secrets are told."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.client import Client, errors_of, kinds_of, message
from tests.model import ModelServer, model_service
from tests.processes import Service, running
from tests.stack import JWT_SECRET, STORE_TOKEN, gateway_service, store_service, temporary_data

pytestmark = pytest.mark.timeout(180)

API_KEY = "sk-the-key-of-the-model-service"
FILES_SECRET = "the-secret-that-urls-are-signed-with"
OPTIONS_SECRET = "a-token-in-the-options-of-the-model"
WORDS = "xylophone"
"""Stands in whatever users and models write."""

LOGS = {"LOG_FORMAT": "json", "LOG_LEVEL": "debug", "ACCESS_LOG": "1"}


def lines_of(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines()]


def secret_file(folder: Path, name: str, secret: str) -> str:
    file = folder / name
    file.write_text(f"{secret}\n")
    return str(file)


def token(owner: str, secret: str = JWT_SECRET) -> str:
    return jwt.encode({"sub": owner, "exp": int(time.time()) + 600}, secret, algorithm="HS256")


async def test_no_line_tells_a_secret_or_what_anyone_wrote(tmp_path: Path) -> None:
    settings = LOGS | {
        "AUTH": "jwt",
        "JWT_SECRET": JWT_SECRET,
        "STORE_TOKEN": "",
        "STORE_TOKEN_FILE": secret_file(tmp_path, "store-token", STORE_TOKEN),
        "OPENAI_API_KEY": "",
        "OPENAI_API_KEY_FILE": secret_file(tmp_path, "api-key", API_KEY),
        "FILES_SECRET": FILES_SECRET,
        "MODEL_OPTIONS": json.dumps({"metadata": {"token": OPTIONS_SECRET}}),
        "STORE_TIMEOUT_S": "10",
        "STORE_RETRY_S": "0.5",
        "BEGIN_RETRY_S": "0.5",
        "TITLE_MODEL": "script:status=500",
    }
    hidden = {WORDS, STORE_TOKEN, JWT_SECRET, API_KEY, FILES_SECRET, OPTIONS_SECRET}
    with (
        temporary_data() as data,
        running(model_service()) as model,
        running(store_service(data, **LOGS)) as store,
        running(gateway_service(store, model, **settings)) as gateway,
    ):
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            hidden |= await bad_times(http, model)
            await without_store(http, store)
        lines = lines_of(gateway) + lines_of(store)
        texts = gateway.log() + store.log()
    assert [line for line in texts.splitlines() if any(secret in line for secret in hidden)] == []
    events = {line["event"] for line in lines}
    assert {"settings", "request", "turn failed", "tool failed", "request failed"} <= events
    assert {line["service"] for line in lines} == {"bobbin-gateway", "bobbin-store"}
    assert all(line["timestamp"] and line["pid"] and line["level"] for line in lines)


async def bad_times(http: httpx.AsyncClient, model: Service) -> set[str]:
    """Use and misuse the gateway; gives what was as good as a password by the way."""
    credentials = token("ada")
    ada = Client(http, {"authorization": f"Bearer {credentials}"})
    said = f"script:text={WORDS}"
    thread = (await ada.create(f"Tell of the {WORDS}", model=said))[0]["thread"]["id"]
    assert ModelServer(model).received(OPTIONS_SECRET), "or there would be nothing to hide"
    assert errors_of(await ada.say(thread, WORDS, model="script:status=401"))
    assert errors_of(await ada.say(thread, WORDS, model=f"{said}&error_after=1"))
    calls = json.dumps([{"name": WORDS, "arguments": {WORDS: WORDS}}])
    assert "error" not in kinds_of(await ada.say(thread, WORDS, model=f"script:calls={calls}&text={WORDS}"))
    assert errors_of(await ada.say(f"thr_{'0' * 32}", WORDS))
    for body in (f'{{"type": "{WORDS}"}}', f'{{"{WORDS}', {"type": "threads.create", "params": WORDS}):
        assert (await ada.post(body)).status_code == 400
    for bad in (token("ada", "another secret of at least 32 bytes, not ours"), WORDS):
        refused = await Client(http, {"authorization": f"Bearer {bad}"}).post({"type": "threads.list"})
        assert refused.status_code == 401
    assert (await http.get(f"/{WORDS}?{WORDS}={WORDS}")).status_code == 404
    file = await ada.call("attachments.create", name=f"{WORDS}.png", size=4, mime_type="image/png")
    upload = file["upload_descriptor"]["url"]
    assert (await http.put(upload, content=WORDS.encode())).status_code == 413
    return {credentials, upload.rpartition("/")[2], file["preview_url"].rpartition("/")[2]}


async def without_store(http: httpx.AsyncClient, store: Service) -> None:
    ada = Client(http, {"authorization": f"Bearer {token('ada')}"})
    file = await ada.call("attachments.create", name=f"{WORDS}.txt", size=4, mime_type="text/plain")
    await asyncio.to_thread(store.kill)
    assert (await http.put(file["upload_descriptor"]["url"], content=b"text")).status_code == 503
    assert (await ada.post({"type": "threads.list", "params": {}})).status_code == 503
    assert errors_of(await ada.create(WORDS, model=f"script:text={WORDS}"))


async def test_one_word_finds_a_request_in_both_services() -> None:
    with (
        temporary_data() as data,
        running(model_service()) as model,
        running(store_service(data, **LOGS)) as store,
    ):
        with running(gateway_service(store, model, **LOGS)) as gateway:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
                turn_ids = await asyncio.gather(*(one_turn(http, f"request-{n}") for n in range(5)))
                await one_turn(http, "not sane: a space", named="")
        lines = lines_of(gateway) + lines_of(store)
    for number, turn_id in enumerate(turn_ids):
        mine = [line for line in lines if line.get("request_id") == f"request-{number}"]
        seen = [(line["service"], line.get("route") or line["event"]) for line in mine]
        assert ("bobbin-gateway", "/chatkit") in seen
        assert ("bobbin-gateway", "turn failed") in seen
        assert ("bobbin-store", "/v1/turns") in seen
        assert ("bobbin-store", "/v1/turns/{turn_id}/finish") in seen
        assert {line["turn_id"] for line in mine if "turn_id" in line} == {turn_id}
    assert not [line for line in lines if "not sane" in str(line)]
    lasting = [line for line in lines if line.get("route", "").startswith("/v1/gateways")]
    assert lasting
    assert not [line for line in lasting if line["request_id"].startswith("request-")]


async def one_turn(http: httpx.AsyncClient, request_id: str, *, named: str | None = None) -> str:
    """A turn that fails; gives its id."""
    body = {"type": "threads.create", "params": {"input": message("Hello", model="script:status=404")}}
    headers = {"content-type": "application/json", "x-request-id": request_id}
    response = await http.post("/chatkit", content=json.dumps(body), headers=headers)
    assert response.status_code == 200
    if named is None:
        assert response.headers["x-request-id"] == request_id
    else:
        assert response.headers["x-request-id"] != request_id
    return response.headers["chatkit-turn-id"]
