"""Files in a conversation: sent with messages, read by models and agents, and made by them."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from bobbin_protocol.ids import uuid7_hex
from tests.client import Client, errors_of, text_of, thread_id_of
from tests.cluster import Cluster, running_cluster
from tests.conftest import ROOT
from tests.integration.gateway.files.conftest import (
    PNG,
    TEXT,
    AsUser,
    attach,
    attach_directly,
    create,
    fetch,
    put,
    until_blobs,
)
from tests.model import ModelServer
from tests.stack import temporary_data


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
