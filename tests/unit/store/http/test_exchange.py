"""Hostile and broken requests: each gets a clear problem that names what is wrong, never a 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_store.errors import InvalidRequest
from bobbin_store.http.exchange import decode_body
from tests.postgres import Postgres
from tests.unit.store.conftest import TOKEN, Store, assistant_message, begin, running_app, user_message

MAX_BODY_BYTES = 100_000


@pytest.fixture(scope="module")
async def http(postgres: Postgres) -> AsyncIterator[httpx.AsyncClient]:
    async with postgres.migrated() as dsn, running_app(dsn, store_max_body_bytes=MAX_BODY_BYTES) as http:
        await Store(http, "alice", "json").thread("t1")
        yield http


HEADERS = {"Authorization": f"Bearer {TOKEN}", "Bobbin-Owner": "alice", "Content-Type": "application/json"}

WRITES = [
    ("POST", "/v1/threads"),
    ("PATCH", "/v1/threads/t1"),
    ("POST", "/v1/threads/t1/items"),
    ("PUT", "/v1/threads/t1/items/i1"),
    ("POST", "/v1/threads/t1/feedback"),
    ("POST", "/v1/turns"),
    ("POST", "/v1/turns/u1/finish"),
    ("POST", "/v1/attachments"),
    ("PUT", "/v1/attachments/a1"),
]


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a good problem."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert body["detail"] == body["message"] != ""
    return body


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"null", "$"),
        (b"[]", "$"),
        (b'"text"', "$"),
        (b'{"id": "\xff", "title": "\xff"}', "$"),
        (b'{"title": "\\ud800", "id": "\\udfff"}', "$"),
        (b"[" * 50_000, "$"),
        (b'{"metadata": ' + b'{"a":' * 15_000 + b"1" + b"}" * 15_000 + b"}", "$"),
    ],
    ids=["empty", "cut", "null", "list", "text", "not UTF-8", "lone surrogate", "deep", "deep object"],
)
async def test_a_malformed_body_is_a_named_400(
    http: httpx.AsyncClient, method: str, path: str, content: bytes, field: str
) -> None:
    body = problem(await http.request(method, path, content=content, headers=HEADERS), 400, "invalid_request")
    assert body["field"].startswith(field)


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 50_000, b"\x80\x00", b"\x01"]
)
async def test_malformed_messagepack_is_a_named_400(
    http: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    headers = HEADERS | {"Content-Type": "application/msgpack"}
    assert problem(
        await http.request(method, path, content=content, headers=headers), 400, "invalid_request"
    )["field"]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_body_too_large_is_a_413(http: httpx.AsyncClient, method: str, path: str) -> None:
    content = b'{"title": "' + b"x" * MAX_BODY_BYTES + b'"}'
    problem(await http.request(method, path, content=content, headers=HEADERS), 413, "too_large")

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    problem(await http.request(method, path, content=in_pieces(), headers=HEADERS), 413, "too_large")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "/"]
)
async def test_another_format_is_a_415(http: httpx.AsyncClient, content_type: str) -> None:
    headers = HEADERS | {"Content-Type": content_type}
    problem(await http.post("/v1/threads", content=b"{}", headers=headers), 415, "unsupported_media_type")


async def test_a_body_without_a_content_type_is_json(http: httpx.AsyncClient) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "Content-Type"}
    assert (await http.post("/v1/threads", content=b"{}", headers=headers)).status_code == 201
    headers["Content-Type"] = "application/json; charset=utf-8"
    assert (await http.post("/v1/threads", content=b"{}", headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/threads", {"title": 5}, "$.title"),
        ("/v1/threads", {"title": "x" * 501}, "$.title"),
        ("/v1/threads", {"title": "nul\x00"}, "$.title"),
        ("/v1/threads", {"id": "a/b"}, "$.id"),
        ("/v1/threads", {"created_at": "10000-01-01T00:00:00Z"}, "$.created_at"),
        ("/v1/threads", {"created_at": "0001-01-01T00:00:00+14:00"}, "$.created_at"),
        ("/v1/threads", {"status": {"type": "asleep"}}, "$.status"),
        ("/v1/threads", {"metadata": []}, "$.metadata"),
        ("/v1/turns", begin("u1", "t9") | {"turn_id": "a b"}, "$.turn_id"),
        ("/v1/turns", begin("u1", "t9", kind="shout"), "$.input"),
        ("/v1/turns", {"turn_id": "u1", "thread_id": "t9"}, "$"),
        ("/v1/turns", begin("u1", "t9") | {"history_limit": 10**30}, "$.history_limit"),
        ("/v1/turns", begin("u1", "t9", message=user_message("nul\x00", "t9")), "$.input.message.id"),
        ("/v1/threads/t1/items", assistant_message("i1", "t1\x00"), "$.thread_id"),
    ],
)
async def test_a_wrong_value_is_named_by_its_path(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    for media_type, encode in [
        ("application/json", msgspec.json.encode),
        ("application/msgpack", msgspec.msgpack.encode),
    ]:
        if media_type == "application/msgpack" and body.get("history_limit") == 10**30:
            continue  # MessagePack has no such numbers
        headers = HEADERS | {"Content-Type": media_type}
        response = await http.post(path, content=encode(body), headers=headers)
        assert problem(response, 400, "invalid_request")["field"].startswith(field)


@pytest.mark.parametrize(
    "owner",
    [None, "", " ", "x" * 257, "nul\x00", "caf\u00e9", "line\nbreak", "tab\t"],
    ids=["none", "empty", "blank", "long", "NUL", "not ASCII", "line break", "tab"],
)
async def test_an_owner_is_1_to_256_printable_characters(http: httpx.AsyncClient, owner: str | None) -> None:
    headers = [(b"Authorization", HEADERS["Authorization"].encode())]
    if owner is not None:
        headers.append((b"Bobbin-Owner", owner.encode()))
    body = problem(await http.get("/v1/threads", headers=headers), 400, "invalid_request")
    assert body["field"] == "Bobbin-Owner"


@pytest.mark.parametrize(
    "owner", ["x", "x" * 256, "auth0|5f7c", "a b", "'; DROP TABLE threads; --", "%", "{}"]
)
async def test_any_printable_owner_has_threads_of_its_own(http: httpx.AsyncClient, owner: str) -> None:
    store = Store(http, owner, "json")
    assert (await store.get("/threads"))["data"] == []
    made = await store.post("/threads", {})
    assert (await store.get("/threads"))["data"] == [made]


@pytest.mark.parametrize(
    "token", [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9", TOKEN]
)
async def test_without_the_service_token_nothing_is_told(http: httpx.AsyncClient, token: str | None) -> None:
    headers = [(b"Bobbin-Owner", b"alice")]
    if token is not None:
        headers.append((b"Authorization", token.encode()))
    for path in ["/v1/threads", "/v1/threads/t1", "/v1/owner/export"]:
        response = await http.get(path, headers=headers)
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("bad_id", ["%00", "a%00b", "x" * 129, "a%20b", "a%2Fb", "%F0%9F%A7%B5", "%FF"])
@pytest.mark.parametrize(
    "path", ["/v1/threads/{}", "/v1/threads/{}/items", "/v1/turns/{}", "/v1/attachments/{}"]
)
async def test_an_impossible_id_in_the_path_is_refused_or_not_found(
    http: httpx.AsyncClient, path: str, bad_id: str
) -> None:
    response = await http.get(path.format(bad_id), headers=HEADERS)
    assert response.status_code in {400, 404}, response.text
    assert response.json()["code"] in {"invalid_request", "not_found"}


async def test_unknown_routes_and_methods_are_problems_too(http: httpx.AsyncClient) -> None:
    problem(await http.get("/v1/nonsense", headers=HEADERS), 404, "not_found")
    problem(await http.get("/", headers=HEADERS), 404, "not_found")
    response = await http.put("/v1/threads", headers=HEADERS)
    problem(response, 405, "method_not_allowed")


async def test_an_answer_is_in_the_format_asked_for(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/threads", headers=HEADERS | {"Accept": "application/msgpack"})
    assert response.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(response.content)["has_more"] is False
    for accept in ["*/*", "application/json", "text/html"]:
        response = await http.get("/v1/threads", headers=HEADERS | {"Accept": accept})
        assert response.headers["content-type"] == "application/json"


@given(body=st.binary(max_size=200), media_type=st.sampled_from(["application/json", "application/msgpack"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, media_type: str) -> None:
    with suppress(InvalidRequest):
        assert isinstance(decode_body(body, media_type, dict[str, Any]), dict)
