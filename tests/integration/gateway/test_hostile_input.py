"""Bad input: a named, clear error or an answer, never a 500, and nothing lost."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.client import Client, answers_of, errors_of, message, text_of, thread_id_of
from tests.stack import Stack


def create(text: str) -> dict[str, Any]:
    return {"type": "threads.create", "params": {"input": message(text)}}


CREATE = b"""{"type": "threads.create", "params": {"input": {
    "content": [%s], "attachments": [], "inference_options": {}}}}"""

BROKEN = {
    "empty body": (b"", None),
    "malformed JSON": (b'{"type": "threads.list"', None),
    "not an object": (b"[1, 2]", None),
    "invalid UTF-8": (b'{"type": "threads.\xff"}', None),
    "deep nesting": (b"[" * 200_000, None),
    "no type": (b'{"params": {}}', "type"),
    "unknown type": (b'{"type": "threads.explode", "params": {}}', "type"),
    "no params": (b'{"type": "threads.list"}', "params"),
    "missing field": (b'{"type": "threads.get_by_id", "params": {}}', "params.thread_id"),
    "wrong type": (b'{"type": "threads.get_by_id", "params": {"thread_id": 7}}', "params.thread_id"),
    "NUL in an id": (
        rb'{"type": "threads.get_by_id", "params": {"thread_id": "a\u0000b"}}',
        "params.thread_id",
    ),
    "empty id": (b'{"type": "threads.get_by_id", "params": {"thread_id": ""}}', "params.thread_id"),
    "long id": (
        b'{"type": "threads.get_by_id", "params": {"thread_id": "%s"}}' % (b"x" * 10_000),
        "params.thread_id",
    ),
    "limit -1": (b'{"type": "threads.list", "params": {"limit": -1}}', "params.limit"),
    "limit as text": (b'{"type": "threads.list", "params": {"limit": "20"}}', "params.limit"),
    "unknown order": (b'{"type": "threads.list", "params": {"order": "sideways"}}', "params.order"),
    "lone surrogate": (CREATE % rb'{"type": "input_text", "text": "\ud800"}', None),
    "unknown content": (CREATE % b'{"type": "input_smell"}', "params.input.content[0].type"),
    "NUL in a sender": (
        rb"""{"type": "threads.custom_action",
        "params": {"thread_id": "t", "item_id": "a\u0000b", "action": {"type": "x"}}}""",
        "params.item_id",
    ),
    "no action": (b'{"type": "threads.custom_action", "params": {"thread_id": "t"}}', "params.action"),
    "no type of action": (
        b'{"type": "threads.sync_custom_action", "params": {"thread_id": "t", "action": {"payload": 1}}}',
        "params.action.type",
    ),
    "no thread of an output": (
        b'{"type": "threads.add_client_tool_output", "params": {"result": 1}}',
        "params.thread_id",
    ),
    "unknown status of answers": (
        b"""{"type": "threads.add_structured_input",
        "params": {"thread_id": "t", "item_id": "i", "input": {"status": "perhaps"}}}""",
        "params.input.status",
    ),
    "answers as a list": (
        b"""{"type": "threads.add_structured_input",
        "params": {"thread_id": "t", "item_id": "i", "input": {"answers": []}}}""",
        "params.input.answers",
    ),
    "tool choice without an id": (
        CREATE.replace(b'"inference_options": {}', b'"inference_options": {"tool_choice": {}}')
        % b'{"type": "input_text", "text": "x"}',
        "params.input.inference_options.tool_choice.id",
    ),
    "title with NUL": (
        rb'{"type": "threads.update", "params": {"thread_id": "thr_1", "title": "a\u0000b"}}',
        "params.title",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_body_is_a_400_that_names_the_field(client: Client, name: str) -> None:
    body, field = BROKEN[name]
    response = await client.post(body)
    problem = response.json()
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/problem+json")
    assert problem["code"] == "invalid_request"
    assert problem["message"] == problem["detail"] != ""
    assert problem.get("field") == field


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "threads.get_by_id", "params": {"thread_id": "thr_none"}},
        {"type": "threads.update", "params": {"thread_id": "thr_none", "title": "x"}},
        {"type": "threads.delete", "params": {"thread_id": "thr_none"}},
        {"type": "items.list", "params": {"thread_id": "thr_none"}},
        {
            "type": "items.feedback",
            "params": {"thread_id": "thr_none", "item_ids": ["x"], "kind": "negative"},
        },
        {"type": "attachments.delete", "params": {"attachment_id": "atc_none"}},
    ],
    ids=lambda request: request["type"],
)
async def test_what_does_not_exist_is_a_404(client: Client, request_: dict[str, Any]) -> None:
    response = await client.post(request_)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_a_message_to_an_unknown_thread_is_an_error_event(client: Client) -> None:
    """chatkit.js would re-send a request that fails by HTTP status."""
    events = await client.say("thr_none", "Hello")
    assert [event["type"] for event in events] == ["error"]
    assert events[0]["allow_retry"] is False


async def test_who_prefers_strict_handling_gets_the_http_status(client: Client) -> None:
    body = {
        "type": "threads.add_user_message",
        "params": {"thread_id": "thr_none", "input": message("Hello")},
    }
    response = await client.post(body, prefer="handling=strict")
    assert response.status_code == 404


@pytest.mark.parametrize("kind", ["threads.list", "items.list"])
async def test_a_bad_cursor_is_a_400_that_names_it(client: Client, kind: str) -> None:
    thread_id = thread_id_of(await client.create("Hello"))
    params = {"after": "msg_none"} | ({"thread_id": thread_id} if kind == "items.list" else {})
    response = await client.post({"type": kind, "params": params})
    assert response.status_code == 400
    assert "after" in response.json()["field"]


@pytest.mark.parametrize(("limit", "most"), [(0, 20), (1_000_000_000, 100), (9999, 100), (1, 1)])
async def test_any_limit_works_and_is_capped(client: Client, limit: int, most: int) -> None:
    await client.create("Hello")
    page = await client.call("threads.list", limit=limit)
    assert 1 <= len(page["data"]) <= most


async def test_a_body_that_is_too_large_is_a_413(client: Client) -> None:
    response = await client.post(b'{"type": "' + b"x" * 10_000_000 + b'"}')
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


async def test_another_media_type_is_a_415(client: Client) -> None:
    response = await client.post("<xml/>", **{"content-type": "application/xml"})
    assert response.status_code == 415


async def test_curl_without_a_content_type_works(client: Client) -> None:
    response = await client.post(create("Hello"), **{"content-type": "application/x-www-form-urlencoded"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "a\u2028b\u2029",
        "\r\ndata: {}\r\n\r\n",
        "\U0001f9f5" * 3,
        "x" * 200_000,
        "'; DROP TABLE items; --",
    ],
    ids=["NUL", "line separators", "SSE in text", "emoji", "200,000 characters", "SQL"],
)
async def test_any_text_is_stored_and_returned_as_it_was_sent(client: Client, text: str) -> None:
    events = await client.create(text, model="script:text=ok")
    assert errors_of(events) == []
    assert answers_of(events) == ["ok"]
    items = await client.call("items.list", thread_id=thread_id_of(events), order="asc")
    assert text_of(items["data"][0]) == text


@pytest.mark.parametrize("text", ["", " \n\t "])
async def test_an_empty_message_is_refused(client: Client, text: str) -> None:
    response = await client.post(create(text))
    assert response.status_code == 400
    assert response.json()["field"] == "params.input.content"


@pytest.mark.parametrize("depth", [100, 400, 900, 5000])
async def test_deeply_nested_data_is_kept_or_refused(client: Client, depth: int) -> None:
    data = b'{"a":' * depth + b"1" + b"}" * depth
    response = await client.post(
        CREATE % (b'{"type": "input_tag", "id": "x", "text": "x", "data": %s}' % data)
    )
    assert response.status_code in {200, 400}
    if response.status_code == 200:
        events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
        assert "could not be saved" not in response.text
        items = await client.post({"type": "items.list", "params": {"thread_id": thread_id_of(events)}})
        assert data in items.content


async def test_an_unknown_path_and_method_are_problems_too(client: Client) -> None:
    assert (await client.http.get("/nothing")).json()["code"] == "not_found"
    assert (await client.http.get("/chatkit")).json()["code"] == "method_not_allowed"


async def test_requests_that_this_server_does_not_serve_say_so(client: Client) -> None:
    events = await client.events(
        "threads.custom_action", thread_id="thr_1", action={"type": "x", "payload": None}
    )
    assert [event["type"] for event in events] == ["error"]
    assert events[0]["message"]


async def test_nothing_of_the_inside_shows_in_an_error(client: Client) -> None:
    for body, _ in BROKEN.values():
        text = (await client.post(body)).text.lower()
        assert "traceback" not in text
        assert "asyncpg" not in text
        assert "/bobbin" not in text


async def test_after_all_of_this_the_gateway_still_answers(client: Client, stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.gateway.url, timeout=30) as http:
        assert (await http.get("/health/ready")).status_code == 200
    assert json.dumps(await client.create("Hello"))
