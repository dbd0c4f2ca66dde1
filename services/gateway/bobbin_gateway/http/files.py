"""``/chatkit/attachments``, ``/chatkit/uploads`` and ``/chatkit/files``: bytes in, and bytes out.

Uploads and files are reached by signed URLs: the page around a preview sends no credentials.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog
from litestar import get, post, route
from litestar.enums import HttpMethod
from litestar.exceptions import ClientException, HTTPException, InternalServerException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.files.attachments import StoredFile
from bobbin_gateway.files.blobs import BlobsUnavailable
from bobbin_gateway.files.multipart import file_part
from bobbin_gateway.gateway import Gateway, gateway_of
from bobbin_gateway.http.event_stream import Sender
from bobbin_protocol.attachments import Attachment, without_metadata
from bobbin_protocol.requests import FileName, InvalidRequest
from bobbin_protocol.wire import encode_json

log = structlog.get_logger()


@route("/chatkit/uploads/{token:str}", http_method=[HttpMethod.PUT, HttpMethod.POST], status_code=200)
async def upload(request: HttpRequest, token: str) -> ASGIResponse:
    """Take the bytes of an attachment that was announced: as they are, or as the field `file` of a form."""
    gateway = gateway_of(request)
    async with _body(request, gateway) as body:
        chunks = (await file_part(_content_type(request), body)).chunks if _is_form(request) else body
        return _answer(await gateway.attachments.receive(token, chunks))


@post("/chatkit/attachments", status_code=200)
async def attach(request: HttpRequest) -> ASGIResponse:
    """Take a file in one step, as the field `file` of a form."""
    gateway = gateway_of(request)
    async with _body(request, gateway) as body:
        owner_id = await gateway.authenticator.owner_of(request)
        if not _is_form(request):
            raise HTTPException(
                status_code=415, detail="Send a form (multipart/form-data) with the field 'file'"
            )
        part = await file_part(_content_type(request), body)
        attachment = await gateway.attachments.receive_directly(
            owner_id, _name(part.name), part.mime_type, part.chunks, base_url_of(request)
        )
    return _answer(attachment)


@get("/chatkit/files/{token:str}")
async def file(request: HttpRequest, token: str) -> ASGIApp:
    """Show an image, or have a browser save another file."""
    gateway = gateway_of(request)
    return FileResponse(await gateway.attachments.open(token), gateway)


class FileResponse:
    """Sends a file, whose content is nobody's to trust, so that a browser at most draws it."""

    def __init__(self, file: StoredFile, gateway: Gateway) -> None:
        self._file = file
        self._settings = gateway.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the response."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": _headers(self._file)})
        try:
            async with Sender(send, self._settings.send_timeout_s) as sender:
                async for chunk in self._file.blob.chunks:
                    await sender.send(chunk)
                await sender.end()
        except (BlobsUnavailable, TimeoutError) as error:
            log.info("file not sent to its end", reason=str(error) or type(error).__name__)
            raise  # the client sees that it is not whole


def _headers(file: StoredFile) -> list[tuple[bytes, bytes]]:
    disposition = "inline" if file.shown else "attachment"
    return [
        (b"content-type", file.mime_type.encode()),
        (b"content-length", str(file.blob.size).encode()),
        (b"content-disposition", f'{disposition}; filename="{file.name}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
        # chatkit.js draws it within a page of OpenAI's; it takes the URL to read it, and no cookie helps
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"cache-control", b"private, max-age=86400, immutable"),
        (b"referrer-policy", b"no-referrer"),
    ]


def base_url_of(request: HttpRequest) -> str:
    """Where the client reached us, as it says itself (`PUBLIC_URL` says it better)."""
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"


def _answer(attachment: Attachment) -> ASGIResponse:
    return ASGIResponse(
        body=encode_json(without_metadata(attachment)),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _name(text: str) -> str:
    try:
        return msgspec.convert(text, FileName)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The file's name: {error}", "file") from error


def _content_type(request: HttpRequest) -> str:
    return request.headers.get("content-type", "")


def _is_form(request: HttpRequest) -> bool:
    return _content_type(request).partition(";")[0].strip().lower() == "multipart/form-data"


@asynccontextmanager
async def _body(request: HttpRequest, gateway: Gateway) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The request's body, to be read within the block, in time.

    What is left of it after a refusal is read too, within reason: a server that answers and hangs up in the
    middle of a request takes its answer with it (RFC 9112, section 9.6).
    """
    chunks = _chunks(request)
    try:
        async with asyncio.timeout(gateway.settings.upload_timeout_s):
            try:
                yield chunks
            except Exception:
                await _discard(chunks)
                raise
    except TimeoutError as error:
        raise HTTPException(status_code=408, detail="The upload took too long") from error


async def _discard(chunks: AsyncIterator[bytes]) -> None:
    left = _MOST_DISCARDED
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            return


async def _chunks(request: HttpRequest) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except InternalServerException as error:  # Litestar's word for a client that leaves while it sends
        raise ClientException("The upload was cut off") from error


_MOST_DISCARDED: Final = 16 * 1024 * 1024

ROUTES = [upload, attach, file]
