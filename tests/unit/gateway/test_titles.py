"""Titles by rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.titles import MAX_TITLE, title_by_rule
from bobbin_protocol.attachments import FileAttachment
from bobbin_protocol.items import InferenceOptions, UserMessageItem, UserMessageTextContent


def message(text: str, *names: str) -> UserMessageItem:
    return UserMessageItem(
        id="msg_1",
        thread_id="thr_1",
        created_at=datetime.now(UTC),
        content=[UserMessageTextContent(text=text)] if text else [],
        attachments=[FileAttachment(id="atc_1", name=name, mime_type="text/plain") for name in names],
        inference_options=InferenceOptions(),
    )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  Hello \t there \nmore", "Hello there"),
        ("# A heading\nand text", "A heading"),
        ("> - quoted", "quoted"),
        ("a\x00b", "a b"),
        ("", None),
        (" \n\t\n", None),
        ("***\nthen words", "then words"),
        ("word " * 40, "word word word word word word word word word word word…"),
        ("x" * 200, "x" * 59 + "…"),
    ],
)
def test_the_first_line_with_words_names_the_thread(text: str, title: str | None) -> None:
    assert title_by_rule(message(text)) == title


def test_a_message_without_words_is_named_after_its_attachment() -> None:
    assert title_by_rule(message("", "report.pdf")) == "report.pdf"


def test_no_message_gives_no_title() -> None:
    assert title_by_rule(None) is None


@given(st.text())
def test_a_title_is_one_short_printable_line(text: str) -> None:
    title = title_by_rule(message(text))
    if title is not None:
        assert 0 < len(title) <= MAX_TITLE
        assert title.strip() == title
        assert "\n" not in title
        assert "\x00" not in title
