"""The one file in a form, as it comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.files.multipart import file_part
from bobbin_protocol.requests import InvalidRequest


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for place in range(0, len(body), size):
        yield body[place : place + size]


@given(st.binary(max_size=300), st.integers(1, 400))
async def test_a_file_comes_out_as_it_went_in(data: bytes, size: int) -> None:
    request = httpx.Request(
        "POST", "http://a", files={"other": (None, b"value"), "file": ('Zoë "1".png', data, "image/png")}
    )
    part = await file_part(request.headers["content-type"], cut(request.read(), size))
    assert (part.name, part.mime_type) == ('Zoë "1".png', "image/png")
    assert b"".join([chunk async for chunk in part.chunks]) == data


HEAD = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n'
BAD = {
    "no form": b"just bytes",
    "nothing": b"",
    "no file": HEAD % b"other" + b"data\r\n--x--\r\n",
    "no parts": b"--x--\r\n",
    "too much before the file": HEAD % b"other"
    + b"d" * 70_000
    + b"\r\n"
    + HEAD % b"file"
    + b"data\r\n--x--\r\n",
    "too many parts": (HEAD % b"other" + b"d\r\n") * 40 + b"--x--\r\n",
    "endless head": b"--x\r\n" + b"a" * 100_000,
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
async def test_what_is_no_form_with_a_file_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await file_part("multipart/form-data; boundary=x", cut(body, 1000))


async def test_a_form_needs_a_boundary() -> None:
    with pytest.raises(InvalidRequest, match="boundary"):
        await file_part("multipart/form-data", cut(b"", 1))


async def test_a_form_that_breaks_off_within_the_file_is_refused() -> None:
    part = await file_part("multipart/form-data; boundary=x", cut(HEAD % b"file" + b"half", 1000))
    with pytest.raises(InvalidRequest):
        _ = [chunk async for chunk in part.chunks]
