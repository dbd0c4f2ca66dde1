"""Signed URLs: what was not signed by us, for this use, or is too old, gives no right."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.files.urls import BadUrl, FileGrant, Grant, Signer, UploadGrant

SIGNER = Signer("a secret of some length")
NOW = 1_800_000_000.0
TEXT = st.text(max_size=60)
UPLOADS = st.builds(
    UploadGrant,
    owner_id=TEXT,
    attachment_id=TEXT,
    size=st.integers(0, 2**40),
    mime_type=TEXT,
    expires_at=st.integers(int(NOW) + 1, 2**40),
)
FILES = st.builds(FileGrant, key=TEXT, mime_type=TEXT)
UPLOAD = UploadGrant(
    owner_id="ada", attachment_id="atc_1", size=3, mime_type="image/png", expires_at=int(NOW) + 60
)


@given(st.one_of(UPLOADS, FILES))
def test_what_was_signed_is_read_back_and_fits_a_path(grant: Grant) -> None:
    token = SIGNER.sign(grant)
    assert SIGNER.read(type(grant), token, NOW) == grant
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)


@given(st.one_of(UPLOADS, FILES), st.data())
def test_no_character_can_be_changed(grant: Grant, data: st.DataObject) -> None:
    token = SIGNER.sign(grant)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc012_-=+/.~é").filter(lambda one: one != token[place]))
    with pytest.raises(BadUrl):
        SIGNER.read(type(grant), token[:place] + other + token[place + 1 :], NOW)


@given(st.one_of(UPLOADS, FILES), st.data())
def test_nothing_can_be_added_or_left_out(grant: Grant, data: st.DataObject) -> None:
    token = SIGNER.sign(grant)
    for changed in (
        token[: data.draw(st.integers(0, len(token) - 1))],
        token + data.draw(st.text("A=", min_size=1)),
    ):
        with pytest.raises(BadUrl):
            SIGNER.read(type(grant), changed, NOW)


@given(st.text(max_size=200))
def test_any_other_text_gives_no_right(token: str) -> None:
    for kind in (UploadGrant, FileGrant):
        with pytest.raises(BadUrl):
            SIGNER.read(kind, token, NOW)


def test_another_servers_signature_gives_no_right() -> None:
    with pytest.raises(BadUrl, match="not valid"):
        SIGNER.read(UploadGrant, Signer("another secret of length").sign(UPLOAD), NOW)


def test_an_upload_is_not_a_file_and_a_file_no_upload() -> None:
    with pytest.raises(BadUrl):
        SIGNER.read(FileGrant, SIGNER.sign(UPLOAD), NOW)
    with pytest.raises(BadUrl):
        SIGNER.read(UploadGrant, SIGNER.sign(FileGrant(key="a", mime_type="b")), NOW)


def test_an_upload_expires_at_its_time_and_a_file_never() -> None:
    token = SIGNER.sign(UPLOAD)
    assert SIGNER.read(UploadGrant, token, UPLOAD.expires_at - 0.01) == UPLOAD
    with pytest.raises(BadUrl, match="attach the file again"):
        SIGNER.read(UploadGrant, token, UPLOAD.expires_at)
    file = FileGrant(key="a", mime_type="b")
    assert SIGNER.read(FileGrant, SIGNER.sign(file), NOW * 2) == file
