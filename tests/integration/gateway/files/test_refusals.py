"""What is refused, and leaves no bytes: lies, wrong sizes and types, uploads that break off, forged URLs."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client import Client, errors_of
from tests.cluster import running_cluster
from tests.integration.gateway.files.conftest import (
    MOST,
    PDF,
    PNG,
    SVG,
    TEXT,
    AsUser,
    attach,
    attach_directly,
    blobs,
    create,
    fetch,
    put,
    until_blobs,
)

JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)


async def test_a_direct_upload_needs_to_be_signed_in_and_a_form_with_a_file(
    as_user: AsUser, ada: Client
) -> None:
    stranger = as_user(None)
    assert (await attach_directly(stranger, PNG, "a.png", "image/png")).status_code == 401
    raw = await ada.http.post("/chatkit/attachments", content=PNG, headers=ada.headers)
    assert raw.status_code == 415
    other = await ada.http.post("/chatkit/attachments", files={"other": ("a", PNG)}, headers=ada.headers)
    assert (other.status_code, other.json()["field"]) == (400, "file")
    broken = await ada.http.post(
        "/chatkit/attachments",
        content=b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf',
        headers=ada.headers | {"content-type": "multipart/form-data; boundary=x"},
    )
    assert broken.status_code == 400
    assert "message" in broken.json()


LIES = {
    "a page as an image": (b"<html><script>alert(1)</script>" * 10, "image/png"),
    "another image": (JPEG, "image/png"),
    "an SVG as an image": (SVG, "image/webp"),
    "an image as a PDF": (PNG, "application/pdf"),
    "a program as text": (b"\x7fELF\x02\x01\x01\x00" + bytes(100), "text/plain"),
    "a PDF as text": (PDF, "text/plain"),
    "bytes at the end of a text": (TEXT + b"\x00", "text/plain"),
}


@pytest.mark.parametrize(("data", "mime_type"), LIES.values(), ids=LIES.keys())
async def test_a_file_that_is_not_what_it_is_said_to_be_is_refused_and_nothing_is_kept(
    ada: Client, folder: Path, data: bytes, mime_type: str
) -> None:
    before = blobs(folder)
    attachment = await create(ada, data, "x", mime_type)
    refused = await put(attachment, data)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    assert mime_type in refused.json()["message"]
    assert (await attach_directly(ada, data, "x", mime_type)).status_code == 415
    await until_blobs(folder, before)
    events = await ada.create("Look", attachments=[attachment["id"]])
    assert "has not been uploaded" in errors_of(events)[0]["message"]


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(("data", "status"), [(PNG[:-1], 400), (PNG + b"!", 413), (b"", 400)])
async def test_a_file_of_another_size_than_announced_is_refused_and_nothing_is_kept(
    ada: Client, folder: Path, data: bytes, status: int, *, form: bool
) -> None:
    before = blobs(folder)
    attachment = await create(ada, PNG, "a.png", "image/png")
    url = attachment["upload_descriptor"]["url"]
    async with httpx.AsyncClient(timeout=30) as http:
        body: dict[str, Any] = {"files": {"file": ("x", data)}} if form else {"content": data}
        response = await http.put(url, **body)
    assert response.status_code == status
    assert "message" in response.json()
    await until_blobs(folder, before)
    assert (await put(attachment, PNG)).status_code == 200  # the right one is still welcome


async def test_a_file_that_is_too_large_is_refused_before_and_while_it_comes(
    ada: Client, folder: Path
) -> None:
    before = blobs(folder)
    announced = await ada.post(
        {
            "type": "attachments.create",
            "params": {"name": "a.txt", "size": MOST + 1, "mime_type": "text/plain"},
        }
    )
    assert (announced.status_code, announced.json()["field"]) == (400, "params.size")
    assert "1 MB" in announced.json()["message"]
    for size, status in [(MOST, 200), (MOST + 1, 413)]:
        response = await attach_directly(ada, b"x" * size, "a.txt", "text/plain")
        assert response.status_code == status, response.text
    await until_blobs(folder, before + 1)


async def test_a_body_without_end_is_not_read_for_ever_and_nothing_is_kept(ada: Client, folder: Path) -> None:
    before = blobs(folder)
    attachment = await create(ada, TEXT, "a.txt", "text/plain")
    url = urlsplit(attachment["upload_descriptor"]["url"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"PUT {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    sent = 0
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"

    async def send() -> None:
        nonlocal sent
        while True:
            writer.write(chunk)
            await writer.drain()
            sent += 65_536

    sending = asyncio.create_task(send())
    status = b"hung up"  # which may take the answer with it: that is how TCP is
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            status = await reader.readline()
    sending.cancel()
    await asyncio.wait([sending])
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    assert b" 413 " in status or status == b"hung up"
    assert sent < 32 * 1024 * 1024
    await until_blobs(folder, before)


async def test_an_upload_that_breaks_off_leaves_nothing(ada: Client, folder: Path) -> None:
    before = blobs(folder)
    attachment = await create(ada, TEXT, "a.txt", "text/plain")
    url = urlsplit(attachment["upload_descriptor"]["url"])
    with socket.create_connection((url.hostname, url.port or 80)) as connection:
        head = f"PUT {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: {len(TEXT)}\r\n\r\n"
        connection.sendall(head.encode() + TEXT[:100])
        await until_blobs(folder, before + 1)  # what has come so far
    await until_blobs(folder, before)
    assert (await put(attachment, TEXT)).status_code == 200


@pytest.mark.parametrize("mime_type", ["application/x-msdownload", "video/mp4", "nonsense"])
async def test_a_type_that_is_not_taken_is_refused(ada: Client, mime_type: str) -> None:
    body = {
        "type": "attachments.create",
        "params": {"name": "a.exe", "size": 3, "mime_type": mime_type},
    }
    response = await ada.post(body)
    assert (response.status_code, response.json()["field"]) == (400, "params.mime_type")
    assert (await attach_directly(ada, b"abc", "a.exe", mime_type)).status_code == 400


async def test_a_tampered_url_gives_no_right(ada: Client, folder: Path) -> None:
    before = blobs(folder)
    attachment = await create(ada, PNG, "a.png", "image/png")
    for key in ["upload", "preview"]:
        url = attachment["upload_descriptor"]["url"] if key == "upload" else attachment["preview_url"]
        base, token = url.rsplit("/", 1)
        for place in [0, 20, 50, len(token) - 1]:
            forged = f"{base}/{token[:place]}{'A' if token[place] != 'A' else 'B'}{token[place + 1 :]}"
            async with httpx.AsyncClient(timeout=30) as http:
                response = await (http.put(forged, content=PNG) if key == "upload" else http.get(forged))
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert blobs(folder) == before


async def test_one_url_is_not_good_for_the_other_use(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    upload, preview = attachment["upload_descriptor"]["url"], attachment["preview_url"]
    async with httpx.AsyncClient(timeout=30) as http:
        got = await http.get(upload.replace("/uploads/", "/files/"))
        written = await http.put(preview.replace("/files/", "/uploads/"), content=PNG)
    assert (got.status_code, written.status_code) == (403, 403)


async def test_bytes_come_once_and_are_not_replaced_later(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    other = PNG[:-3] + b"???"
    response = await put(attachment, other)
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert (await fetch(attachment["preview_url"])).content == PNG


async def test_a_gateway_that_takes_no_attachments_says_so() -> None:
    with running_cluster(1, ATTACHMENT_MAX_BYTES="0") as one:
        params = {"name": "a.png", "size": 3, "mime_type": "image/png"}
        async with one.client().http as http:
            response = await Client(http).post({"type": "attachments.create", "params": params})
        assert (response.status_code, "no attachments" in response.json()["message"]) == (400, True)
