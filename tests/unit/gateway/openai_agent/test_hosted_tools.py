"""Tools of the provider as steps; an item of any shape makes a step or none, never an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.openai_agent.hosted_tools import (
    approval_notice,
    pictures,
    task_of,
    writing_code,
    written_code,
)
from bobbin_protocol.sources import FileSource, URLSource
from bobbin_protocol.tasks import CustomTask, FileTask, SearchTask, Task, ThoughtTask
from bobbin_protocol.wire import encode_json

PAGE = "https://example.org/a"


def done(kind: str, **fields: Any) -> Task | None:
    return task_of({"type": kind, "status": "completed", **fields}, done=True)


def test_a_search_shows_its_queries_and_sources() -> None:
    action = {
        "type": "search",
        "query": "cats",
        "queries": ["cats", "dogs"],
        "sources": [{"type": "url", "url": PAGE}, {"type": "url", "url": PAGE}, {"type": "api", "name": "x"}],
    }
    assert done("web_search_call", action=action) == SearchTask(
        title="Searched the web",
        title_query="cats",
        queries=["cats", "dogs"],
        sources=[URLSource(url=PAGE, title="example.org")],
        status_indicator="complete",
    )
    assert task_of({"type": "web_search_call", "status": "in_progress"}, done=False) == SearchTask(
        title="Searching the web", status_indicator="loading"
    )


@pytest.mark.parametrize(
    ("action", "title"),
    [
        ({"type": "open_page", "url": PAGE}, "Opened a page"),
        ({"type": "find_in_page", "url": PAGE, "pattern": "cats"}, "Looked for “cats” in a page"),
        ({"type": "find", "url": PAGE, "pattern": "cats"}, "Looked for “cats” in a page"),
    ],
)
def test_a_page_that_the_model_reads_is_a_source(action: dict[str, Any], title: str) -> None:
    task = done("web_search_call", action=action)
    assert isinstance(task, SearchTask)
    assert (task.title, task.sources) == (title, [URLSource(url=PAGE, title="example.org")])


def test_a_search_in_files_shows_what_was_found() -> None:
    results = [
        {"filename": "a.txt", "score": 1},
        {"filename": "a.txt"},
        {"filename": None},
        {"filename": "b"},
    ]
    assert done("file_search_call", queries=["cats", "dogs"], results=results) == FileTask(
        title="Searched files for “cats”, “dogs”",
        sources=[FileSource(filename="a.txt", title="a.txt"), FileSource(filename="b", title="b")],
        status_indicator="complete",
    )


def test_code_is_shown_with_what_it_printed_and_drew() -> None:
    outputs = [{"type": "logs", "logs": "1"}, {"type": "image", "url": "data:image/png;base64,AAAA"}]
    item = {"type": "code_interpreter_call", "code": "print(1)", "outputs": outputs}
    assert task_of(item, done=True) == CustomTask(
        title="Ran code",
        icon="square-code",
        content="```python\nprint(1)\n```\n\n```\n1\n```",
        status_indicator="complete",
    )
    assert pictures(item) == ["data:image/png;base64,AAAA"]


def test_code_that_is_being_written_can_be_read_back() -> None:
    code = "a = '```'\n\nprint(a)\n"
    task = writing_code(code)
    assert task.status_indicator == "loading"
    assert written_code(task) == code
    assert written_code(ThoughtTask(content="x")) == ""


def test_a_call_of_a_server_shows_arguments_and_output() -> None:
    task = done(
        "mcp_call", name="ask", server_label="wiki", arguments='{"a":1}', output="x" * 9000, error=None
    )
    assert isinstance(task, CustomTask)
    assert (task.title, task.status_indicator) == ("ask (wiki)", "complete")
    assert task.content is not None
    assert task.content.startswith('```json\n{"a":1}\n```')
    assert len(task.content) < 2100


@pytest.mark.parametrize("error", ["it broke", {"type": "x", "message": "it broke"}])
def test_what_failed_has_no_tick_and_says_why(error: Any) -> None:
    task = done("mcp_call", name="ask", server_label="wiki", arguments="", error=error)
    assert isinstance(task, CustomTask)
    assert (task.status_indicator, task.icon, task.content) == ("none", "info", "```\nit broke\n```")


@pytest.mark.parametrize("kind", ["web_search_call", "file_search_call", "code_interpreter_call"])
@pytest.mark.parametrize("status", ["failed", "incomplete", "cancelled"])
def test_a_status_that_is_no_success_has_no_tick(kind: str, status: str) -> None:
    task = task_of({"type": kind, "status": status}, done=True)
    assert task is not None
    assert task.status_indicator == "none"


def test_a_call_that_needs_an_approval_is_told_to_the_user() -> None:
    item = {"type": "mcp_approval_request", "name": "pay", "server_label": "bank", "arguments": {"sum": 1}}
    task = task_of(item, done=True)
    assert isinstance(task, CustomTask)
    assert task.title == "pay (bank) needs an approval"
    assert task.content == '```json\n{"sum":1}\n```'
    assert "pay (bank)" in approval_notice(item)


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("local_shell_call", "Local shell"),
        ("hologram_call", "Hologram"),
        ("tool_search_call", "Looked for tools"),
    ],
)
def test_calls_that_nobody_knows_have_a_readable_title(kind: str, title: str) -> None:
    task = done(kind)
    assert isinstance(task, CustomTask)
    assert (task.title, task.status_indicator) == (title, "complete")


@pytest.mark.parametrize("kind", ["tool_search_output", "compaction", "", "hologram"])
def test_other_kinds_of_items_show_nothing(kind: str) -> None:
    assert done(kind) is None


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "url", "title", "filename", "logs", "message", "query", "queries"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
KINDS = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "tool_search_call",
    "x_call",
    "x",
]
FIELDS = ["action", "status", "error", "queries", "results", "code", "outputs", "arguments", "output", "name"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), anything), st.booleans())
def test_nothing_that_a_provider_sends_breaks_the_answer(
    kind: str, fields: dict[str, Any], ended: bool
) -> None:
    item = {"type": kind, **fields}
    encode_json(task_of(item, done=ended))
    pictures(item)
    approval_notice(item)
