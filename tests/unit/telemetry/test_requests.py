"""Requests by name."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import structlog
from litestar import Litestar, get
from litestar.types import ASGIApp

from bobbin_telemetry.requests import NamedRequests, body_send, current_request_id, with_body_send

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class App:
    """An application that answers in two pieces, and the id that it has seen."""

    def __init__(self, head: dict[str, Any] | None = None, error: Exception | None = None) -> None:
        self.seen: list[str] = []
        self._head = head or HEAD
        self._error = error

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope |= {"path_template": "/files/{token}/{thread_id}"}
        scope |= {"path_params": {"token": "as-good-as-a-password", "thread_id": "thr_1", "no_id": "a b"}}
        await asyncio.sleep(0)
        self.seen.append(current_request_id())
        if self._error is not None:
            raise self._error
        await send(dict(self._head))
        await send({"type": "http.response.body", "body": b"x", "more_body": False})


async def serve(app: Any, *, given: bytes | None = None, access_log: bool = False) -> list[dict[str, Any]]:
    """All that is sent in answer to a request."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"x")] + ([] if given is None else [(b"x-request-id", given)])
    scope = {"type": "http", "method": "GET", "path": "/files/as-good-as-a-password", "headers": headers}
    await NamedRequests(app, access_log=access_log)(scope, lambda: asyncio.sleep(0), send)
    return sent


def id_in(sent: list[dict[str, Any]]) -> str:
    (value,) = [value for name, value in sent[0]["headers"] if name == b"x-request-id"]
    return value.decode()


async def test_a_given_id_is_known_within_and_comes_back() -> None:
    app = App()
    sent = await serve(app, given=b"edge-1.2")
    assert app.seen == ["edge-1.2"] == [id_in(sent)]
    assert sent[0]["headers"][0] == (b"content-type", b"text/plain")
    assert sent[1]["body"] == b"x"
    assert HEAD["headers"] == [(b"content-type", b"text/plain")], "a head may be shared"


@pytest.mark.parametrize("given", [None, b"", b"a b", b"line\nbreak", b'"', b"x" * 129, "é".encode()])
async def test_otherwise_each_request_gets_one_of_its_own(given: bytes | None) -> None:
    app = App()
    first, second = [id_in(await serve(app, given=given)) for _ in range(2)]
    assert app.seen == [first, second]
    assert first != second
    assert not given or given.decode() not in first


async def test_requests_at_once_keep_their_own_and_leave_none() -> None:
    app = App()
    names = [f"r{number}".encode() for number in range(20)]
    answers = await asyncio.gather(*(serve(app, given=name) for name in names))
    assert [id_in(sent).encode() for sent in answers] == names
    assert sorted(app.seen) == sorted(name.decode() for name in names)
    assert current_request_id() == ""


async def test_the_access_log_has_the_route_and_ids_but_no_path() -> None:
    head = HEAD | {"headers": [(b"chatkit-turn-id", b"trn_1")]}
    with structlog.testing.capture_logs() as logs:
        await serve(App(head), access_log=True)
        await serve(App())
    (line,) = logs
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/files/{token}/{thread_id}",
        "status": 200,
        "thread_id": "thr_1",
        "turn_id": "trn_1",
    }


async def test_a_request_without_an_answer_is_logged_as_failed() -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(ZeroDivisionError):
        await serve(App(error=ZeroDivisionError()), access_log=True)
    assert logs[0]["status"] == 500


async def test_nothing_stands_between_a_stream_and_its_connection() -> None:
    """Neither layers of ours nor of Litestar, as long as the head has gone through them."""
    sent: list[tuple[str, Any]] = []

    async def connection(message: Any) -> None:
        sent.append((message["type"], dict(message.get("headers", ())).get(b"x-request-id")))

    async def stream(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert body_send(scope, send) is connection

    @get("/")
    async def route() -> ASGIApp:
        return stream

    app = with_body_send(NamedRequests(cast("Any", Litestar([route])), access_log=False))
    headers = [(b"x-request-id", b"r1")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    await app(scope, nothing, connection)
    assert sent == [("http.response.start", b"r1")]


async def nothing() -> Any:
    """Receive nothing."""


async def test_without_a_way_past_the_layers_a_stream_goes_through_them() -> None:
    assert body_send({}, nothing) is nothing


async def test_what_is_no_http_request_passes_as_it_is() -> None:
    passed: list[Any] = []

    async def app(*arguments: Any) -> None:
        passed.extend(arguments)

    parts: list[Any] = [{"type": "lifespan"}, object(), object()]
    await NamedRequests(app, access_log=True)(*parts)
    assert passed == parts
