"""Attachments through HTTP and real processes: upload, preview, sending, removal, and what may be wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest

from bobbin_protocol.ids import uuid7_hex
from tests.client import Client, check_attachment, errors_of, text_of, thread_id_of
from tests.cluster import Cluster, running_cluster
from tests.conftest import ROOT
from tests.model import ModelServer
from tests.stack import JWT_SECRET, temporary_data

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)
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
    async with httpx.AsyncClient() as http:
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
    async with httpx.AsyncClient() as http:
        return await http.get(url, headers={"origin": "https://cdn.platform.openai.com"})


def blobs(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


async def until_blobs(folder: Path, count: int) -> None:
    async with asyncio.timeout(15):
        while blobs(folder) != count:  # noqa: ASYNC110 (another process removes them)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("way", ["PUT", "POST", "PUT form", "POST form"])
async def test_an_image_is_uploaded_in_two_steps_and_seen(files: Cluster, ada: Client, way: str) -> None:
    attachment = await create(ada, PNG, "Zoë.png", "image/png")
    assert (attachment["type"], attachment["name"]) == ("image", "Zoë.png")
    assert attachment["upload_descriptor"]["method"] == "PUT"
    assert attachment["upload_descriptor"]["url"].startswith(files.gateways[0].url)
    assert (await fetch(attachment["preview_url"])).status_code == 404
    method, _, form = way.partition(" ")
    async with httpx.AsyncClient() as http:
        body: dict[str, Any] = {"files": {"file": ("x", PNG)}} if form else {"content": PNG}
        response = await http.request(method, attachment["upload_descriptor"]["url"], **body)
    assert response.status_code == 200, response.text
    answer = check_attachment(response.json())
    assert answer == {key: attachment[key] for key in attachment if key != "upload_descriptor"}
    preview = await fetch(attachment["preview_url"])
    assert preview.content == PNG


async def test_a_preview_can_be_drawn_by_any_page_and_do_nothing_there(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    headers = (await fetch(attachment["preview_url"])).headers
    assert headers["content-type"] == "image/png"
    assert headers["content-length"] == str(len(PNG))
    assert headers["content-disposition"].startswith("inline")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["cache-control"].startswith("private")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "sandbox" in headers["content-security-policy"]


async def test_a_page_of_an_allowed_origin_may_upload(ada: Client) -> None:
    url = (await create(ada, PNG, "a.png", "image/png"))["upload_descriptor"]["url"]
    for origin, allowed in [("https://page.example", True), ("https://evil.example", False)]:
        async with httpx.AsyncClient() as http:
            asking = {
                "origin": origin,
                "access-control-request-method": "PUT",
                "access-control-request-headers": "content-type",
            }
            preflight = await http.options(url, headers=asking)
        assert (preflight.status_code < 300) is allowed


@pytest.mark.parametrize(
    ("data", "name", "mime_type"),
    [(PNG, "a.png", "image/png"), (PDF, "b.pdf", "application/pdf"), (TEXT, "c.md", "text/markdown")],
)
async def test_a_file_is_uploaded_in_one_step(
    ada: Client, data: bytes, name: str, mime_type: str, folder: Path
) -> None:
    before = blobs(folder)
    response = await attach_directly(ada, data, name, mime_type)
    assert response.status_code == 200, response.text
    attachment = check_attachment(response.json())
    assert "upload_descriptor" not in attachment
    assert (attachment["name"], attachment["mime_type"]) == (name, mime_type)
    assert attachment["type"] == ("image" if mime_type == "image/png" else "file")
    assert blobs(folder) == before + 1


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


async def test_a_type_that_the_browser_does_not_know_is_told_by_the_name(ada: Client) -> None:
    assert (await create(ada, TEXT, "notes.md", ""))["mime_type"] == "text/markdown"
    assert (await create(ada, TEXT, "a.csv", "application/vnd.ms-excel"))["mime_type"] == "text/csv"
    attachment = (await attach_directly(ada, TEXT, "notes.md", "application/octet-stream")).json()
    assert attachment["mime_type"] == "text/markdown"


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
    assert blobs(folder) == before
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
    async with httpx.AsyncClient() as http:
        body: dict[str, Any] = {"files": {"file": ("x", data)}} if form else {"content": data}
        response = await http.put(url, **body)
    assert response.status_code == status
    assert "message" in response.json()
    assert blobs(folder) == before
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
    assert blobs(folder) == before + 1


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
    assert blobs(folder) == before


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


async def test_an_svg_is_never_an_image(ada: Client) -> None:
    """Though the operator lets all of `image/*` in: it is a file, and has no preview."""
    attachment = await attach(ada, SVG, "a.svg", "image/svg+xml")
    assert attachment["type"] == "file"
    assert "preview_url" not in attachment


async def test_a_tampered_url_gives_no_right(ada: Client, folder: Path) -> None:
    before = blobs(folder)
    attachment = await create(ada, PNG, "a.png", "image/png")
    for key in ["upload", "preview"]:
        url = attachment["upload_descriptor"]["url"] if key == "upload" else attachment["preview_url"]
        base, token = url.rsplit("/", 1)
        for place in [0, 20, 50, len(token) - 1]:
            forged = f"{base}/{token[:place]}{'A' if token[place] != 'A' else 'B'}{token[place + 1 :]}"
            async with httpx.AsyncClient() as http:
                response = await (http.put(forged, content=PNG) if key == "upload" else http.get(forged))
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert blobs(folder) == before


async def test_one_url_is_not_good_for_the_other_use(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    upload, preview = attachment["upload_descriptor"]["url"], attachment["preview_url"]
    async with httpx.AsyncClient() as http:
        got = await http.get(upload.replace("/uploads/", "/files/"))
        written = await http.put(preview.replace("/files/", "/uploads/"), content=PNG)
    assert (got.status_code, written.status_code) == (403, 403)


async def test_bytes_come_once_and_are_not_replaced_later(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    other = PNG[:-3] + b"???"
    response = await put(attachment, other)
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert (await fetch(attachment["preview_url"])).content == PNG


async def test_a_conversation_with_an_image_is_the_same_after_a_reload(ada: Client) -> None:
    attachment = await attach(ada, PNG, "a.png", "image/png")
    note = (await attach_directly(ada, TEXT, "c.md", "text/markdown")).json()
    events = await ada.create("Look", attachments=[attachment["id"], note["id"]], model="script:text=ok")
    assert errors_of(events) == []
    thread_id = thread_id_of(events)
    thread = await ada.call("threads.get_by_id", thread_id=thread_id)
    said, answer = thread["items"]["data"]
    assert text_of(answer) == "ok"
    assert [one["id"] for one in said["attachments"]] == [attachment["id"], note["id"]]
    assert said["attachments"][0]["preview_url"] == attachment["preview_url"]
    assert {one["thread_id"] for one in said["attachments"]} == {thread_id}
    assert not [one for one in said["attachments"] if "upload_descriptor" in one or "metadata" in one]
    assert (await fetch(said["attachments"][0]["preview_url"])).content == PNG
    events = await ada.say(thread_id, "And?", model="script:text=well")
    assert errors_of(events) == []


async def test_the_model_gets_the_image(files: Cluster, ada: Client) -> None:
    image = PNG + uuid7_hex().encode()
    attachment = await attach(ada, image, "a.png", "image/png")
    events = await ada.create("Look", attachments=[attachment["id"]], model="script:text=ok")
    assert errors_of(events) == []
    assert ModelServer(files.model).received(b64encode(image).decode())


async def test_an_agent_reads_what_is_attached_and_what_it_makes_can_be_loaded() -> None:
    with (
        temporary_data() as own,
        running_cluster(
            1,
            ATTACHMENTS_URL=own.as_uri(),
            ATTACHMENT_SWEEP_S="0.3",
            GATEWAY_AGENT="tests.agents:filing",
            PYTHONPATH=str(ROOT),
        ) as one,
    ):
        async with one.client().http as http:
            client = Client(http)
            sent = [
                await attach(client, data, "a", kind)
                for data, kind in [(PNG, "image/png"), (TEXT, "text/plain")]
            ]
            for drawn, kind in [(PNG, "image/png"), (b"<script>", "application/octet-stream")]:
                events = await client.create(drawn.decode("latin-1"), attachments=[a["id"] for a in sent])
                assert errors_of(events) == []
                thread_id = thread_id_of(events)
                thread = await client.call("threads.get_by_id", thread_id=thread_id)
                _, said, image = thread["items"]["data"]
                assert text_of(said) == " ".join(
                    sha256(data).hexdigest() for data in [PNG, TEXT][: len(sent)]
                )
                shown = await fetch(image["image"]["url"])
                assert (shown.content, shown.headers["content-type"]) == (drawn, kind)
                assert shown.headers["content-disposition"].startswith("inline") is (drawn == PNG)
                await client.call("threads.delete", thread_id=thread_id)
                await until_blobs(own, 0)
                assert (await fetch(image["image"]["url"])).status_code == 404
                sent = []


async def test_a_message_is_refused_until_the_bytes_of_its_attachment_are_there(ada: Client) -> None:
    attachment = await create(ada, PNG, "a.png", "image/png")
    events = await ada.create("Look", attachments=[attachment["id"]])
    assert [event["type"] for event in events] == ["error"]
    assert "a.png" in events[0]["message"]
    assert (await ada.call("threads.list"))["data"] == []
    assert (await put(attachment, PNG)).status_code == 200
    assert errors_of(await ada.create("Look", attachments=[attachment["id"]])) == []


async def test_another_users_attachment_does_not_exist(as_user: AsUser, ada: Client) -> None:
    eve = as_user("eve")
    attachment = await attach(ada, PNG, "a.png", "image/png")
    events = await eve.create("Mine now", attachments=[attachment["id"]])
    assert "no attachment" in errors_of(events)[0]["message"]
    body = {"type": "attachments.delete", "params": {"attachment_id": attachment["id"]}}
    assert (await eve.post(body)).status_code == 404
    assert (await fetch(attachment["preview_url"])).content == PNG


async def test_a_deleted_attachment_takes_its_bytes_along(ada: Client, folder: Path) -> None:
    before = blobs(folder)
    attachment = await attach(ada, PNG, "a.png", "image/png")
    unused = await create(ada, PNG, "b.png", "image/png")
    assert blobs(folder) == before + 1
    for one in (attachment, unused):
        assert await ada.call("attachments.delete", attachment_id=one["id"]) == {}
    await until_blobs(folder, before)
    assert (await fetch(attachment["preview_url"])).status_code == 404
    assert (await put(unused, PNG)).status_code == 404
    assert blobs(folder) == before


async def test_a_deleted_thread_takes_the_bytes_of_its_attachments_along(
    as_user: AsUser, ada: Client, owner: str, folder: Path
) -> None:
    before = blobs(folder)
    gone = [await attach(ada, PNG, f"{n}.png", "image/png") for n in range(3)]
    kept = await attach(ada, PNG, "kept.png", "image/png")
    thread_id = thread_id_of(
        await ada.create("Look", attachments=[one["id"] for one in gone], model="script:text=ok")
    )
    assert blobs(folder) == before + 4
    await as_user(owner, 1).call("threads.delete", thread_id=thread_id)
    await until_blobs(folder, before + 1)
    assert (await fetch(kept["preview_url"])).content == PNG


async def test_an_erased_owner_leaves_no_bytes(files: Cluster, ada: Client, owner: str, folder: Path) -> None:
    before = blobs(folder)
    sent = await attach(ada, PNG, "a.png", "image/png")
    await attach(ada, PDF, "b.pdf", "application/pdf")
    await ada.create("Look", attachments=[sent["id"]], model="script:text=ok")
    assert blobs(folder) == before + 2
    async with files.store_http(owner) as http:
        (await http.delete("/v1/owner")).raise_for_status()
    await until_blobs(folder, before)


async def test_gateways_share_their_files(files: Cluster, as_user: AsUser, ada: Client, owner: str) -> None:
    """Announced at one, uploaded at the other, seen at both."""
    attachment = await create(ada, PNG, "a.png", "image/png")
    first, second = (service.url for service in files.gateways)
    attachment["upload_descriptor"]["url"] = attachment["upload_descriptor"]["url"].replace(first, second)
    assert (await put(attachment, PNG)).status_code == 200
    for url in (first, second):
        assert (await fetch(attachment["preview_url"].replace(first, url))).content == PNG
    other = as_user(owner, 1)
    assert errors_of(await other.create("Look", attachments=[attachment["id"]])) == []


async def test_attachments_that_nobody_sends_are_removed_and_expired_urls_refused() -> None:
    settings = {
        "ATTACHMENT_KEEP_S": "4",
        "ATTACHMENT_SWEEP_S": "0.3",
        "UPLOAD_URL_S": "1",
        "PUBLIC_URL": "https://chat.example/bobbin/",
    }
    with temporary_data() as own, running_cluster(1, ATTACHMENTS_URL=own.as_uri(), **settings) as one:
        async with one.client().http as http:
            client = Client(http)
            at_once = await create(client, PNG, "late.png", "image/png")
            prefix = "https://chat.example/bobbin/chatkit/"
            assert at_once["upload_descriptor"]["url"].startswith(f"{prefix}uploads/")
            assert at_once["preview_url"].startswith(f"{prefix}files/")
            sent = (await attach_directly(client, PNG, "sent.png", "image/png")).json()
            unsent = (await attach_directly(client, PNG, "unsent.png", "image/png")).json()
            events = await client.create("Look", attachments=[sent["id"]], model="script:text=ok")
            assert errors_of(events) == []
            assert blobs(own) == 2
            await asyncio.sleep(1)
            late = at_once["upload_descriptor"]["url"].replace(
                "https://chat.example/bobbin", one.gateways[0].url
            )
            response = await http.put(late, content=PNG)
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")
            assert "attach the file again" in response.json()["message"]
            await until_blobs(own, 1)
            async with one.store_http() as store:
                ids = [
                    line["attachment"]["id"]
                    for text in (await store.get("/v1/owner/export")).text.splitlines()
                    if (line := json.loads(text))["kind"] == "attachment"
                ]
            assert ids == [sent["id"]]
            assert unsent["id"] not in ids


async def test_what_a_killed_gateway_left_undone_is_done_by_another() -> None:
    """A killed upload leaves a part of a file, which goes with its attachment."""
    with (
        temporary_data() as own,
        running_cluster(1, ATTACHMENTS_URL=own.as_uri(), ATTACHMENT_SWEEP_S="0.3") as one,
    ):
        async with one.client().http as http:
            client = Client(http)
            data = b"x" * (12 * 1024 * 1024)
            attachment = await create(client, data, "a.txt", "text/plain")
            url = urlsplit(attachment["upload_descriptor"]["url"])
            with socket.create_connection((url.hostname, url.port or 80)) as connection:
                head = f"PUT {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: {len(data)}\r\n\r\n"
                await asyncio.to_thread(connection.sendall, head.encode() + data[: 11 * 1024 * 1024])
                await until_blobs(own, 1)
                one.gateways[0].kill()
            assert blobs(own) == 1
            one.gateways[0].start()
            await client.call("attachments.delete", attachment_id=attachment["id"])
            await until_blobs(own, 0)


async def test_a_gateway_that_takes_no_attachments_says_so() -> None:
    with running_cluster(1, ATTACHMENT_MAX_BYTES="0") as one:
        params = {"name": "a.png", "size": 3, "mime_type": "image/png"}
        async with one.client().http as http:
            response = await Client(http).post({"type": "attachments.create", "params": params})
        assert (response.status_code, "no attachments" in response.json()["message"]) == (400, True)
