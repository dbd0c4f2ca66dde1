"""Files through each proxy: as large as the gateway takes them, at URLs that clients can use."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.client import Client
from tests.integration.proxies.conftest import MOST_BYTES
from tests.proxies import Proxy

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


async def announced(http: httpx.AsyncClient, size: int, **headers: str) -> dict[str, Any]:
    """An attachment that is yet to be uploaded."""
    params = {"name": "picture.png", "size": size, "mime_type": "image/png"}
    response = await Client(http).post({"type": "attachments.create", "params": params}, **headers)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_file_goes_in_and_comes_out(http: httpx.AsyncClient, proxy: Proxy) -> None:
    """By URLs that name the proxy, and its scheme."""
    content = PNG.ljust(MOST_BYTES, b"\x00")
    attachment = await announced(http, len(content))
    target = attachment["upload_descriptor"]
    assert target["url"].startswith(f"{proxy.url}/chatkit/uploads/")
    assert attachment["preview_url"].startswith(f"{proxy.url}/chatkit/files/")
    uploaded = await http.request(target["method"], target["url"], content=content)
    assert uploaded.status_code == 200, uploaded.text
    shown = await http.get(attachment["preview_url"], headers={"accept-encoding": "identity"})
    assert shown.content == content
    assert shown.headers["content-type"] == "image/png"


async def test_a_form_goes_in(http: httpx.AsyncClient, proxy: Proxy) -> None:
    response = await http.post("/chatkit/attachments", files={"file": ("picture.png", PNG, "image/png")})
    assert response.status_code == 200, response.text
    assert response.json()["preview_url"].startswith(proxy.url)


async def test_what_is_too_large_is_refused_by_the_gateway(http: httpx.AsyncClient) -> None:
    """With its own words: no proxy has a lower limit, or hides the answer."""
    attachment = await announced(http, len(PNG))
    target = attachment["upload_descriptor"]
    longer = await http.request(target["method"], target["url"], content=PNG.ljust(MOST_BYTES, b"\x00"))
    assert (longer.status_code, longer.json()["code"]) == (413, "too_large"), longer.text
    body = await Client(http).post(" " * (3 * 1024 * 1024))
    assert (body.status_code, body.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("name", ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-for", "forwarded"])
async def test_what_a_client_says_of_its_way_here_is_not_passed_on(
    http: httpx.AsyncClient, proxy: Proxy, name: str
) -> None:
    lies = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "http" if proxy.speaks_http2 else "https",
        "x-forwarded-for": "127.0.0.1",
        "forwarded": "host=evil.example;proto=ftp",
    }
    attachment = await announced(http, len(PNG), **{name: lies[name]})
    assert attachment["preview_url"].startswith(f"{proxy.url}/chatkit/files/")


async def test_pages_of_the_proxy_and_no_others_may_use_the_gateway(
    http: httpx.AsyncClient, proxy: Proxy
) -> None:
    """Its own name is the one that the browser knows."""
    asked = {"type": "threads.list", "params": {"limit": 1}}
    assert (await Client(http).post(asked, origin=proxy.url)).status_code == 200
    assert (await Client(http).post(asked, origin="https://evil.example")).status_code == 401
    lying = {"origin": "https://evil.example", "x-forwarded-host": "evil.example"}
    assert (await Client(http).post(asked, **lying)).status_code == 401
