"""Two gateways that share a folder of files, their users, and the ways in which files go in and come out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from bobbin_protocol.ids import uuid7_hex
from tests.client import Client
from tests.cluster import Cluster, running_cluster
from tests.stack import JWT_SECRET, temporary_data

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PDF = b"%PDF-1.7\n" + b"hello " * 100
TEXT = "Grüße, Welt\n".encode() * 50
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
MOST = 1024 * 1024


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with temporary_data() as path:
        yield path


@pytest.fixture(scope="module")
def files(folder: Path) -> Iterator[Cluster]:
    """Two gateways with one folder of blobs, and many users."""
    with running_cluster(
        2,
        AUTH="jwt",
        JWT_SECRET=JWT_SECRET,
        ATTACHMENTS_URL=folder.as_uri(),
        ATTACHMENT_MAX_BYTES=str(MOST),
        ATTACHMENT_TYPES="image/*,application/pdf,text/*,application/json",
        ATTACHMENT_SWEEP_S="0.5",
        ALLOWED_ORIGINS="https://page.example",
    ) as one:
        yield one


AsUser = Callable[..., Client]


@pytest.fixture
async def as_user(files: Cluster) -> AsyncIterator[AsUser]:
    """Clients by the name of their user, and by the gateway."""
    async with AsyncExitStack() as stack:

        def client(name: str | None, gateway: int = 0) -> Client:
            claims = {"sub": name, "exp": int(time.time()) + 3600}
            token = jwt.encode(claims, JWT_SECRET)
            one = files.client(gateway, **({"authorization": f"Bearer {token}"} if name else {}))
            stack.push_async_callback(one.http.aclose)
            return one

        yield client


@pytest.fixture
def owner() -> str:
    """A user of the test's own."""
    return f"ada-{uuid7_hex()}"


@pytest.fixture
def ada(as_user: AsUser, owner: str) -> Client:
    return as_user(owner)


async def create(client: Client, data: bytes, name: str, mime_type: str) -> dict[str, Any]:
    return await client.call("attachments.create", name=name, size=len(data), mime_type=mime_type)


async def put(attachment: dict[str, Any], data: bytes, **headers: str) -> httpx.Response:
    """Send the bytes as the upload descriptor says: with no credentials."""
    upload = attachment["upload_descriptor"]
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.request(
            upload["method"], upload["url"], content=data, headers=upload["headers"] | headers
        )


async def attach(client: Client, data: bytes, name: str, mime_type: str) -> dict[str, Any]:
    """A file, uploaded in two steps."""
    attachment = await create(client, data, name, mime_type)
    response = await put(attachment, data)
    assert response.status_code == 200, response.text
    return attachment


async def attach_directly(client: Client, data: bytes, name: str, mime_type: str) -> httpx.Response:
    form = {"file": (name, data, mime_type)}
    return await client.http.post("/chatkit/attachments", files=form, headers=client.headers)


async def fetch(url: str) -> httpx.Response:
    """As an image in a page of someone else: without credentials."""
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.get(url, headers={"origin": "https://cdn.platform.openai.com"})


def blobs(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


async def until_blobs(folder: Path, count: int) -> None:
    async with asyncio.timeout(15):
        while blobs(folder) != count:  # noqa: ASYNC110 (another process removes them)
            await asyncio.sleep(0.05)
