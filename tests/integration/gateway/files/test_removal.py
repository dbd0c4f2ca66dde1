"""Removal: bytes go with what they belong to, and when nobody sends them, whatever becomes of a gateway."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tests.client import Client, errors_of, thread_id_of
from tests.cluster import Cluster, running_cluster
from tests.integration.gateway.files.conftest import (
    PDF,
    PNG,
    AsUser,
    attach,
    attach_directly,
    blobs,
    create,
    fetch,
    put,
    until_blobs,
)
from tests.stack import temporary_data


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


async def test_attachments_that_nobody_sends_are_removed_and_expired_urls_refused() -> None:
    settings = {
        "ATTACHMENT_KEEP_S": "8",
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
