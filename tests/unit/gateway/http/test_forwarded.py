"""Headers of proxies count from proxies only, and only where they make sense."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.config.cors import CORSConfig

from bobbin_gateway.http.files import base_url_of
from bobbin_gateway.http.forwarded import trusting

PROTO, HOST = "x-forwarded-proto", "x-forwarded-host"
BOTH = [(PROTO, "https"), (HOST, "chat.example.org")]
AS_SENT = "http://gateway:8000 gateway:8000"
AS_FORWARDED = "https://chat.example.org chat.example.org"


@get("/")
async def where(request: Request[Any, Any, Any]) -> str:
    """Where the client reached us, and what Host says."""
    return f"{base_url_of(request)} {request.headers['host']}"


async def reached(
    peer: str, trusted: list[str], headers: list[tuple[str, str]], *, cors: CORSConfig | None = None
) -> str:
    """How a request that comes from this address is understood."""
    app = trusting(Litestar([where], cors_config=cors, openapi_config=None), trusted)
    transport = httpx.ASGITransport(app, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway:8000") as http:
        return (await http.get("/", headers=headers)).text


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3", ["10.0.0.0/8"]),
        ("10.1.2.3", ["192.168.0.0/16", "10.1.2.3"]),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"]),
        ("fd00::7", ["fd00::/8"]),
    ],
)
async def test_a_trusted_proxy_is_taken_at_its_word(peer: str, trusted: list[str]) -> None:
    assert await reached(peer, trusted, BOTH) == AS_FORWARDED


async def test_a_page_of_another_origin_changes_nothing_about_that() -> None:
    """Litestar looks at the headers for CORS before anything of ours, and remembers them."""
    cors = CORSConfig(allow_origins=["https://page.example.org"], allow_credentials=True)
    headers = [*BOTH, ("origin", "https://page.example.org")]
    assert await reached("10.1.2.3", ["10.0.0.0/8"], headers, cors=cors) == AS_FORWARDED
    assert await reached("11.1.2.3", ["10.0.0.0/8"], headers, cors=cors) == AS_SENT


async def test_what_is_sent_passes_by() -> None:
    """A stream comes with each of its events: no function of ours stands in between."""
    given: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        given.extend([receive, send])

    async def receive() -> Any: ...
    async def send(_message: Any) -> None: ...

    scope = {"type": "http", "client": ("10.1.2.3", 1), "headers": [], "scheme": "http"}
    await trusting(app, ["10.0.0.0/8"])(scope, receive, send)
    assert given == [receive, send]


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("11.1.2.3", ["10.0.0.0/8"]),
        ("::ffff:11.1.2.3", ["10.0.0.0/8"]),
        ("fe00::7", ["fd00::/8"]),
        ("10.1.2.3", ["fd00::/8"]),
        ("a name", ["10.0.0.0/8"]),
    ],
)
async def test_nobody_else_is(peer: str, trusted: list[str]) -> None:
    assert await reached(peer, trusted, BOTH) == AS_SENT


@pytest.mark.parametrize(
    ("headers", "understood"),
    [
        ([], AS_SENT),
        ([(PROTO, "https")], "https://gateway:8000 gateway:8000"),
        ([(PROTO, "HTTPS")], "https://gateway:8000 gateway:8000"),
        ([(HOST, "chat.example.org:8443")], "http://chat.example.org:8443 chat.example.org:8443"),
        ([(HOST, "[fd00::1]:8443")], "http://[fd00::1]:8443 [fd00::1]:8443"),
        # what the client made up stands before what the nearest proxy added
        ([(PROTO, "https, http"), (HOST, "evil.example, chat.example")], "http://chat.example chat.example"),
        ([(HOST, "evil.example"), (HOST, "chat.example")], "http://chat.example chat.example"),
        ([(PROTO, "javascript")], AS_SENT),
        ([(HOST, "")], AS_SENT),
        ([(HOST, "evil.example/path?")], AS_SENT),
        ([(HOST, "user@evil.example")], AS_SENT),
        ([(HOST, "evil.example\tor not")], AS_SENT),
        ([(HOST, "evil.example:port")], AS_SENT),
    ],
)
async def test_what_makes_no_sense_is_not_heard(headers: list[tuple[str, str]], understood: str) -> None:
    assert await reached("10.1.2.3", ["10.0.0.0/8"], headers) == understood
