"""Uploads: in one step or two, by a page that may, and seen at every gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client import Client, check_attachment, errors_of
from tests.cluster import Cluster
from tests.integration.gateway.files.conftest import (
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
)


@pytest.mark.parametrize("way", ["PUT", "POST", "PUT form", "POST form"])
async def test_an_image_is_uploaded_in_two_steps_and_seen(files: Cluster, ada: Client, way: str) -> None:
    attachment = await create(ada, PNG, "Zoë.png", "image/png")
    assert (attachment["type"], attachment["name"]) == ("image", "Zoë.png")
    assert attachment["upload_descriptor"]["method"] == "PUT"
    assert attachment["upload_descriptor"]["url"].startswith(files.gateways[0].url)
    assert (await fetch(attachment["preview_url"])).status_code == 404
    method, _, form = way.partition(" ")
    async with httpx.AsyncClient(timeout=30) as http:
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
        async with httpx.AsyncClient(timeout=30) as http:
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


async def test_a_type_that_the_browser_does_not_know_is_told_by_the_name(ada: Client) -> None:
    assert (await create(ada, TEXT, "notes.md", ""))["mime_type"] == "text/markdown"
    assert (await create(ada, TEXT, "a.csv", "application/vnd.ms-excel"))["mime_type"] == "text/csv"
    attachment = (await attach_directly(ada, TEXT, "notes.md", "application/octet-stream")).json()
    assert attachment["mime_type"] == "text/markdown"


async def test_an_svg_is_never_an_image(ada: Client) -> None:
    """Though the operator lets all of `image/*` in: it is a file, and has no preview."""
    attachment = await attach(ada, SVG, "a.svg", "image/svg+xml")
    assert attachment["type"] == "file"
    assert "preview_url" not in attachment


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
