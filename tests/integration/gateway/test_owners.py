"""Who is the user: tokens in, and nobody sees what is another's."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.client import Client, errors_of, kinds_of, message, thread_id_of
from tests.processes import Service, free_port, running
from tests.stack import JWT_SECRET, Stack, gateway_service


def token(owner: str, secret: str = JWT_SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": owner, "exp": int(time.time()) + 60, **claims}, secret, algorithm="HS256")


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Service]:
    with running(gateway_service(stack.store, stack.model, AUTH="jwt", JWT_SECRET=JWT_SECRET)) as gateway:
        yield gateway


@pytest.fixture
async def user(gateway: Service) -> AsyncIterator[Callable[[str], Client]]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        yield lambda owner: Client(http, {"authorization": f"Bearer {token(owner)}"})


LIST = {"type": "threads.list", "params": {}}
LATE = 4_000_000_000
"""When a token expires that is made long before it is used."""


async def test_each_owner_sees_their_own_threads_only(user: Callable[[str], Client]) -> None:
    thread_id = thread_id_of(await user("ada").create("Ada's secret"))
    assert thread_id in str(await user("ada").call("threads.list"))
    assert thread_id not in str(await user("eve").call("threads.list"))


async def test_anothers_thread_is_a_404_like_one_that_never_was(user: Callable[[str], Client]) -> None:
    events = await user("ada").create("Ada's secret")
    thread_id = thread_id_of(events)
    item_id = next(e["item"]["id"] for e in events if e["type"] == "thread.item.done")
    eve = user("eve")
    for kind, params in [
        ("threads.get_by_id", {}),
        ("items.list", {}),
        ("threads.update", {"title": "mine"}),
        ("threads.delete", {}),
        ("items.feedback", {"item_ids": [item_id], "kind": "negative"}),
    ]:
        foreign = await eve.post({"type": kind, "params": {"thread_id": thread_id, **params}})
        absent = await eve.post({"type": kind, "params": {"thread_id": "thr_never", **params}})
        assert foreign.status_code == absent.status_code == 404
        assert foreign.text.replace(thread_id, "thr_never") == absent.text

    said = await eve.say(thread_id, "let me in")
    assert said == await eve.say("thr_never", "let me in")
    assert kinds_of(said) == ["error"]
    retried = await eve.events("threads.retry_after_item", thread_id=thread_id, item_id=item_id)
    assert kinds_of(retried) == ["error"]
    assert len((await user("ada").call("items.list", thread_id=thread_id))["data"]) == 2


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": f"Bearer {token('ada', secret='x' * 32, exp=LATE)}"},
        {"authorization": f"Bearer {token('ada', exp=1)}"},
        {"authorization": f"Bearer {token('', exp=LATE)}"},
        {"authorization": "Bearer " + jwt.encode({"sub": "ada"}, None, algorithm="none")},
        {"authorization": "Bearer " + jwt.encode({"sub": "ada"}, JWT_SECRET, algorithm="HS256")},
        {"cookie": "session=nonsense"},
    ],
    ids=["none", "nonsense", "other secret", "expired", "no subject", "alg none", "never expires", "cookie"],
)
async def test_an_unknown_caller_is_a_401(gateway: Service, credentials: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        response = await http.post("/chatkit", json=LIST, headers=credentials)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 200), ("own", 200), ("https://evil.example", 401), ("null", 401)]
)
async def test_a_cookie_counts_only_from_an_allowed_origin(
    gateway: Service, origin: str | None, status: int
) -> None:
    """Browsers send cookies along with requests that foreign pages make (CWE-352)."""
    headers = {"cookie": f"session={token('ada')}"}
    if origin is not None:
        headers["origin"] = gateway.url if origin == "own" else origin
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
        assert (await http.post("/chatkit", json=LIST, headers=headers)).status_code == status


def signed_with_public_key(token: str, public_key: str) -> str:
    """The same claims under HS256, with the public key, which everyone knows, as the secret."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "one"}).encode()).rstrip(b"=")
    signed = header + b"." + token.split(".")[1].encode()
    signature = hmac.digest(public_key.encode(), signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_public_keys_come_from_a_jwks_url(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """ES256 by JWKS; the HS256 trick with the public key as secret must not work."""
    folder = tmp_path_factory.mktemp("jwks")
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "one", "use": "sig"}
    (folder / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    port = free_port()
    files = Service(
        "http.server", port, str(port), "--bind", "127.0.0.1", "-d", str(folder), ready="/keys.json"
    )
    claims = {"sub": "ada", "exp": int(time.time()) + 60}
    good = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "one"})
    forged = signed_with_public_key(good, json.dumps(jwk))
    unknown = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "two"})
    with (
        running(files),
        running(
            gateway_service(stack.store, stack.model, AUTH="jwt", JWT_JWKS_URL=f"{files.url}/keys.json")
        ) as gateway,
    ):
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            for sent, status in [(good, 200), (forged, 401), (unknown, 401)]:
                headers = {"authorization": f"Bearer {sent}"}
                assert (await http.post("/chatkit", json=LIST, headers=headers)).status_code == status
            chat = Client(http, {"authorization": f"Bearer {good}"})
            assert errors_of(await chat.events("threads.create", input=message("Hello"))) == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_without_sign_in_foreign_pages_are_refused_all_the_same(client: Client, origin: str) -> None:
    """Any page can send requests to this machine; it must not spend the user's tokens."""
    response = await client.post(LIST, origin=origin)
    assert response.status_code == 401


async def test_without_sign_in_a_foreign_name_for_this_machine_is_refused(client: Client) -> None:
    """DNS rebinding: the browser takes the foreign page and us for one origin."""
    port = client.http.base_url.port
    evil = f"evil.example:{port}"
    response = await client.post(LIST, host=evil, origin=f"http://{evil}")
    assert response.status_code == 401
    assert (await client.post(LIST, host=f"localhost:{port}")).status_code == 200
    for malformed in ("[", "[::1", "a[b]"):
        assert (await client.post(LIST, host=malformed)).status_code in {400, 401}
    assert (await client.post(LIST, origin="http://[")).status_code == 401


async def test_a_page_of_an_allowed_origin_can_read_a_stream(stack: Stack) -> None:
    page = "http://localhost:3000"
    with running(gateway_service(stack.store, stack.model, ALLOWED_ORIGINS=page)) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            preflight = await http.options(
                "/chatkit",
                headers={
                    "origin": page,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "content-type,last-event-id",
                },
            )
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == page
            assert "last-event-id" in preflight.headers["access-control-allow-headers"].lower()
            body = {"type": "threads.create", "params": {"input": message("Hello")}}
            stream = await http.post("/chatkit", json=body, headers={"origin": page})
            assert stream.status_code == 200
            assert stream.headers["access-control-allow-origin"] == page
            assert "chatkit-turn-id" in stream.headers["access-control-expose-headers"].lower()
            refused = await http.post("/chatkit", json=LIST, headers={"origin": "https://evil.example"})
            assert refused.status_code == 401
            assert "access-control-allow-origin" not in refused.headers


async def test_keys_that_cannot_be_fetched_are_not_the_users_fault(stack: Stack) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/keys.json"
    key = ec.generate_private_key(ec.SECP256R1())
    signed = jwt.encode({"sub": "ada"}, key, algorithm="ES256", headers={"kid": "one"})
    with running(gateway_service(stack.store, stack.model, AUTH="jwt", JWT_JWKS_URL=nowhere)) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            response = await http.post("/chatkit", json=LIST, headers={"authorization": f"Bearer {signed}"})
    assert response.status_code == 503
    assert nowhere not in response.text
