"""Traces over gateway, store, PostgreSQL and model, as a collector gets them from real processes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import pytest
from msgspec import Struct

from bobbin_gateway.assistant import Assistant
from bobbin_gateway.tools.context import ToolContext
from bobbin_gateway.tools.function import tool
from bobbin_gateway.tools.tool import ToolError
from tests.client import Client, answers_of, message, thread_id_of
from tests.collector import CollectedSpan, Collector, collecting
from tests.conftest import ROOT
from tests.mcp import http_service
from tests.model import model_service
from tests.processes import Service, free_port, running
from tests.stack import JWT_SECRET, STORE_TOKEN, gateway_service, store_service, temporary_data

API_KEY = "sk-not-to-be-told"
ANSWER = "Perfectly-private-answer"
STOP_S = 8.0
"""What a stop may take: two seconds of it for the last spans, the rest for a machine that is busy."""
CLIENT, SERVER = 3, 2
"""Kinds of spans, as OTLP numbers them."""


@tool(title="Look")
async def look(context: ToolContext, place: str) -> str:
    """Look somewhere."""
    if place == "nowhere":
        raise ToolError("There is no such place as nowhere")
    return f"Nothing but {place}"


assistant = Assistant(tools=[look], instructions="Keep it private-by-instruction.")


class Traced(Struct):
    """A Bobbin whose services send their traces to a collector."""

    collector: Collector
    store: Service
    model: Service
    gateway: Service


@contextmanager
def traced(
    data: Path, collector: Collector, settings: dict[str, str], **gateway_settings: str
) -> Iterator[Traced]:
    with ExitStack() as stack:
        store = stack.enter_context(running(store_service(data, **settings)))
        model = stack.enter_context(running(model_service()))
        gateway = gateway_service(store, model, **(settings | gateway_settings))
        yield Traced(collector, store, model, stack.enter_context(running(gateway)))


@pytest.fixture(scope="module")
def bobbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        server = stack.enter_context(running(http_service(free_port())))
        file = tmp_path_factory.mktemp("mcp") / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"sums": {"url": f"{server.url}/mcp"}}}))
        settings = {
            "MCP_CONFIG": str(file),
            "GATEWAY_AGENT": f"{__name__}:assistant",
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": API_KEY,
            "AUTH": "jwt",
            "JWT_SECRET": JWT_SECRET,
            "LEASE_S": "2",
        }
        data = stack.enter_context(temporary_data())
        yield stack.enter_context(traced(data, collector, collector.environ(), **settings))


def a_traceparent(flags: str = "01") -> tuple[str, str, str]:
    """Ids of a trace and of a caller's span, and both as the header."""
    trace_id, span_id = uuid4().hex, uuid4().hex[:16]
    return trace_id, span_id, f"00-{trace_id}-{span_id}-{flags}"


OWNER = "ann-the-owner"
TOKEN = jwt.encode({"sub": OWNER, "exp": 4_000_000_000}, JWT_SECRET, "HS256")


@pytest.fixture
async def http(bobbin: Traced) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=bobbin.gateway.url, headers=headers, timeout=30) as http:
        yield http


def calling(*calls: tuple[str, Any]) -> tuple[str, str]:
    seed = f"seed={uuid4().int % 10**9}"
    scripted = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
    return f"script:{seed}&text={ANSWER}&calls={quote(scripted)}", seed


async def received(bobbin: Traced, seed: str) -> list[dict[str, Any]]:
    """What the model was asked, with headers."""
    async with httpx.AsyncClient(base_url=bobbin.model.url, timeout=30) as http:
        return (await http.get("/requests", params={"contains": seed})).json()["requests"]


def the(spans: list[CollectedSpan], name: str, service: str = "bobbin-gateway") -> CollectedSpan:
    [span] = [span for span in spans if (span.name, span.service) == (name, service)]
    return span


def below(spans: list[CollectedSpan], parent: CollectedSpan) -> list[CollectedSpan]:
    return [span for span in spans if span.parent_id == parent.span_id]


async def test_a_conversation_is_one_trace_from_the_clients_request_to_the_sql(
    bobbin: Traced, http: httpx.AsyncClient
) -> None:
    model, seed = calling(("look", {"place": "under-the-bed"}), ("look", {"place": "nowhere"}))
    trace_id, caller, traceparent = a_traceparent()
    chat = Client(http, {"traceparent": traceparent, "tracestate": "vendor=words"})
    events = await chat.create("What is under my very-private-bed?", model=model)
    assert answers_of(events) == [ANSWER]
    begun = "INSERT threads INSERT turns INSERT items UPDATE attachments INSERT changes"
    ended = "UPDATE turns INSERT journal UPDATE threads INSERT items"
    served_last = "POST /v1/turns/{turn_id}/finish"
    spans = bobbin.collector.trace(trace_id, "POST /chatkit", "turn", begun, ended, served_last)

    request = the(spans, "POST /chatkit")
    assert (request.parent_id, request.kind) == (caller, SERVER)
    assert request.attributes["http.route"] == "/chatkit"
    assert request.attributes["http.response.status_code"] == 200
    begin = the(spans, "POST /v1/turns")
    assert (begin.parent_id, begin.kind) == (request.span_id, CLIENT)

    turn = the(spans, "turn")
    assert turn.parent_id == request.span_id
    assert turn.attributes["gen_ai.conversation.id"] == thread_id_of(events)
    assert turn.attributes["bobbin.turn.state"] == "completed"
    assert turn.attributes["bobbin.turn.id"] == request.attributes["bobbin.turn.id"]
    assert turn.events == ["first event"]
    assert not turn.failed

    asked = [span for span in below(spans, turn) if span.name == "chat"]
    assert [(span.kind, span.attributes["gen_ai.request.model"]) for span in asked] == [(CLIENT, model)] * 2
    assert all(span.attributes["gen_ai.usage.output_tokens"] > 0 for span in asked)
    looked = [span for span in below(spans, turn) if span.name == "execute_tool look"]
    assert sorted(span.failed for span in looked) == [False, True]

    finish = the(spans, "POST /v1/turns/{id}/finish")
    assert finish.parent_id == turn.span_id
    for call, route, statement in ((begin, "POST /v1/turns", begun), (finish, served_last, ended)):
        [served] = [span for span in below(spans, call) if span.service == "bobbin-store"]
        assert (served.name, served.kind) == (route, SERVER)
        [asked_for] = [span for span in below(spans, served) if span.name == statement]
        assert asked_for.attributes["db.system.name"] == "postgresql"
        assert "$1" in asked_for.attributes["db.query.text"]
        assert 0 < asked_for.seconds <= served.seconds

    parents = [one["traceparent"] for one in await received(bobbin, seed)]
    assert parents == [f"00-{trace_id}-{span.span_id}-01" for span in asked]


async def test_nothing_private_is_in_a_trace(bobbin: Traced, http: httpx.AsyncClient) -> None:
    model, _ = calling(("look", {"place": "under-the-bed"}))
    trace_id, _, traceparent = a_traceparent()
    chat = Client(http, {"traceparent": traceparent})
    events = await chat.create("What is under my very-private-bed?", model=model)
    await chat.call("threads.update", thread_id=thread_id_of(events), title="Private-title")
    spans = bobbin.collector.trace(trace_id, "turn", "PATCH /v1/threads/{thread_id}")
    everything = "\n".join(span.whole for span in spans if span.name != "chat").lower()
    private = ("private", "under-the-bed", OWNER, TOKEN, JWT_SECRET, STORE_TOKEN, API_KEY, "authorization")
    assert [word for word in private if word.lower() in everything] == []


async def test_a_call_of_an_mcp_server_is_in_the_trace(bobbin: Traced, http: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 20
    answered = False
    while not answered:  # the server is connected to in the background
        assert time.monotonic() < deadline
        model, seed = calling(("sums__add", {"a": 19, "b": 23}))
        trace_id, _, traceparent = a_traceparent()
        await Client(http, {"traceparent": traceparent}).create("Add", model=model)
        answered = "42" in json.dumps((await received(bobbin, seed))[-1]["body"]["input"])
    spans = bobbin.collector.trace(trace_id, "turn", "execute_tool sums__add")
    [sent] = below(spans, the(spans, "execute_tool sums__add"))
    assert "tools/call" in sent.name


async def test_a_failed_model_request_says_how_it_failed(bobbin: Traced, http: httpx.AsyncClient) -> None:
    trace_id, _, traceparent = a_traceparent()
    await Client(http, {"traceparent": traceparent}).create("Hello", model="script:status=401")
    spans = bobbin.collector.trace(trace_id, "turn")
    asked = the(spans, "chat")
    assert (asked.failed, asked.attributes["error.type"]) == (True, "AuthenticationError")
    turn = the(spans, "turn")
    assert (turn.failed, turn.attributes["bobbin.turn.state"]) == (True, "failed")
    assert asked.events == []
    told = [json.loads(line) for line in bobbin.gateway.log().splitlines() if line.startswith("{")]
    [failed] = [line for line in told if line.get("trace_id") == trace_id]
    assert (failed["event"], failed["span_id"]) == ("turn failed", turn.span_id)


async def test_who_comes_back_to_a_turn_is_linked_to_it(bobbin: Traced, http: httpx.AsyncClient) -> None:
    first, _, traceparent = a_traceparent()
    body = {
        "type": "threads.create",
        "params": {"input": message("A long story", model="script:deltas=80&delay_ms=50")},
    }
    headers = {"chatkit-resumable": "1", "content-type": "application/json", "traceparent": traceparent}
    async with http.stream("POST", "/chatkit", content=json.dumps(body), headers=headers) as response:
        turn_id = response.headers["chatkit-turn-id"]
    second, _, traceparent = a_traceparent()
    rest = await http.get(
        f"/chatkit/turns/{turn_id}/events", params={"after": "0"}, headers={"traceparent": traceparent}
    )
    assert "thread.item.done" in rest.text
    route = "GET /chatkit/turns/{turn_id}/events"
    back = the(bobbin.collector.trace(second, route), route)
    turn = the(bobbin.collector.trace(first, "turn"), "turn")
    assert back.links == [turn.span_id]
    assert back.attributes["bobbin.turn.id"] == turn.attributes["bobbin.turn.id"] == turn_id
    assert turn.seconds > the(bobbin.collector.trace(first, "POST /chatkit"), "POST /chatkit").seconds


async def test_what_a_process_does_for_itself_makes_no_traces(
    bobbin: Traced, http: httpx.AsyncClient
) -> None:
    """Lease, journal, watching; probes; and requests of a caller who wants no trace."""
    trace_id, _, traceparent = a_traceparent("00")
    chat = Client(http, {"traceparent": traceparent, "chatkit-resumable": "1"})
    await chat.create("A story", model="script:deltas=40&delay_ms=50")
    assert (await http.get("/health/ready")).status_code == 200
    last, _, traceparent = a_traceparent()
    await Client(http, {"traceparent": traceparent}).create("Hello", model="script:text=Hi")
    bobbin.collector.trace(last, "turn", "POST /v1/turns/{turn_id}/finish")
    spans = bobbin.collector.spans
    assert [span for span in spans if span.trace_id == trace_id] == []
    own = ("gateways", "watch", "health", "blobs", "DELETE gateways")
    assert [span.name for span in spans if any(word in span.name for word in own)] == []
    assert {span.name for span in spans if not span.parent_id} == set()


async def test_the_turn_of_a_dead_gateway_is_a_trace_of_its_own(
    bobbin: Traced, http: httpx.AsyncClient
) -> None:
    trace_id, _, traceparent = a_traceparent()
    chat = Client(http, {"chatkit-resumable": "1", "traceparent": traceparent})
    slow = message("A story", model="script:deltas=400&delay_ms=50")
    async with chat.stream("threads.create", input=slow) as events:
        thread_id = thread_id_of([await anext(events)])
        bobbin.gateway.kill()
    bobbin.gateway.start()

    def taken_over(spans: list[CollectedSpan]) -> list[CollectedSpan]:
        return [span for span in spans if span.attributes.get("bobbin.turn.taken_over")]

    [turn] = taken_over(bobbin.collector.wait_for(taken_over))
    assert turn.parent_id == ""
    assert turn.trace_id != trace_id
    assert turn.attributes["gen_ai.conversation.id"] == thread_id
    assert turn.attributes["bobbin.turn.state"] == "interrupted"
    bobbin.collector.trace(turn.trace_id, "POST /v1/turns/{turn_id}/finish")


async def test_what_is_not_sampled_is_not_sent() -> None:
    with collecting() as collector, temporary_data() as data:
        unsampled = collector.environ(OTEL_TRACES_SAMPLER="always_off")
        with traced(data, collector, unsampled) as bobbin:
            async with httpx.AsyncClient(base_url=bobbin.gateway.url, timeout=30) as http:
                assert answers_of(await Client(http).create("Hello", model="script:text=Hi")) == ["Hi"]
        assert collector.requests == 0  # the services have stopped: what there was has been sent


async def test_a_collector_that_is_away_or_stands_still_holds_up_nothing() -> None:
    with collecting() as collector, temporary_data() as data:
        collector.hangs.set()
        few = collector.environ(OTEL_BSP_MAX_QUEUE_SIZE="64", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16")
        away = few | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
        with traced(data, collector, away, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as bobbin:
            async with httpx.AsyncClient(base_url=bobbin.gateway.url, timeout=30) as http:
                for _ in range(40):  # more spans than have room
                    assert answers_of(await Client(http).create("Hello", model="script:text=Hi")) == ["Hi"]
            assert collector.requests > 0
            for service in (bobbin.gateway, bobbin.store):
                begin = time.monotonic()
                assert service.stop() == 0
                assert time.monotonic() - begin < STOP_S
                complaints = [line for line in service.log().splitlines() if "trace" in line]
                assert 1 <= len(complaints) <= 2, service.log()
                assert "Traceback" not in service.log()
        assert collector.spans == []


async def test_each_worker_sends_its_own_and_the_last_ones_before_it_stops() -> None:
    with collecting() as collector, temporary_data() as data:
        rarely = collector.environ(OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_SERVICE_NAME="chat")
        with traced(data, collector, rarely, GATEWAY_WORKERS="2") as bobbin:
            traces: set[str] = set()
            for _ in range(20):  # each on a connection of its own, so that both workers get some
                trace_id, _, traceparent = a_traceparent()
                traces.add(trace_id)
                async with httpx.AsyncClient(base_url=bobbin.gateway.url, timeout=30) as http:
                    await Client(http, {"traceparent": traceparent}).create("Hello", model="script:text=Hi")
            assert collector.spans == []
            bobbin.gateway.stop()
            turns = [span for span in collector.spans if span.name == "turn"]
            assert {span.trace_id for span in turns} == traces
            assert {span.service for span in turns} == {"chat"}
