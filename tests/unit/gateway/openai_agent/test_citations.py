"""Citations of all shapes; senseless ones are left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.openai_agent.citations import (
    annotation_of,
    chat_annotation_of,
    search_results,
    url_source,
)
from bobbin_protocol.items import Annotation
from bobbin_protocol.sources import FileSource, URLSource

PAGE = "https://example.org/a"
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "url", "title", "filename", "index", "end_index", "url_citation"])
            | st.text(max_size=4),
            inner | st.sampled_from(["url_citation", "file_citation", "container_file_citation", PAGE]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("citation", "annotation"),
    [
        (
            {"type": "url_citation", "url": PAGE, "title": "A", "start_index": 2, "end_index": 7},
            Annotation(source=URLSource(url=PAGE, title="A"), index=7),
        ),
        (
            {"type": "url_citation", "url": PAGE, "title": ""},
            Annotation(source=URLSource(url=PAGE, title="example.org")),
        ),
        (
            {"type": "file_citation", "filename": "a.txt", "index": 3, "file_id": "f"},
            Annotation(source=FileSource(filename="a.txt", title="a.txt"), index=3),
        ),
        (
            {"type": "container_file_citation", "filename": "a.png", "start_index": 1, "end_index": 4},
            Annotation(source=FileSource(filename="a.png", title="a.png"), index=4),
        ),
        ({"type": "file_citation", "filename": "", "index": 3}, None),
        ({"type": "file_path", "file_id": "f", "index": 3}, None),
        ({"type": "url_citation", "url": "javascript:alert(1)", "title": "A", "end_index": 7}, None),
        ({"type": "url_citation", "url": "https://[", "title": "A", "end_index": 7}, None),
        ("text", None),
        (None, None),
    ],
)
def test_citations_become_annotations_where_they_have_a_source(citation: Any, annotation: Any) -> None:
    assert annotation_of(citation) == annotation


def test_a_citation_of_a_completion_that_covers_nothing_has_no_place() -> None:
    inner = {"url": PAGE, "title": "A", "start_index": 0, "end_index": 0, "content": "text"}
    annotation = chat_annotation_of({"type": "url_citation", "url_citation": inner})
    assert annotation == Annotation(source=URLSource(url=PAGE, title="A"))
    placed = chat_annotation_of({"type": "url_citation", "url_citation": {**inner, "end_index": 5}})
    assert placed == Annotation(source=URLSource(url=PAGE, title="A"), index=5)


def test_results_of_a_search_have_titles_and_dates_and_plain_addresses_will_do() -> None:
    results = [{"url": PAGE, "title": "A", "date": "2026-01-01", "snippet": "S" * 1000}, {"url": "ftp://x"}]
    [found] = search_results(results, [PAGE])
    assert isinstance(found.source, URLSource)
    assert (found.source.title, found.source.timestamp) == ("A", "2026-01-01")
    assert len(found.source.description or "") == 300
    [plain] = search_results(None, [PAGE, 7])
    assert plain == Annotation(source=URLSource(url=PAGE, title="example.org"))


@given(anything, anything)
def test_nothing_that_a_provider_sends_breaks_the_answer(one: Any, other: Any) -> None:
    for annotation in [annotation_of(one), chat_annotation_of(one), *search_results(one, other)]:
        if annotation is not None and isinstance(annotation.source, URLSource):
            assert annotation.source.url.lower().startswith(("http://", "https://"))
    url_source(one, other)
