"""A collector of OpenTelemetry traces for tests: it takes OTLP over HTTP and keeps the spans as they came."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

DEADLINE_S = 15.0


class CollectedSpan(Struct, kw_only=True):
    """A span, ids in hexadecimal."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any]
    events: list[str]
    links: list[str]
    seconds: float
    whole: str
    """All that was sent, as text."""


class Collector:
    """What was sent so far."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.requests = 0
        self.hangs = threading.Event()
        """Set: requests are taken, and never answered."""
        self.let_go = threading.Event()
        self.url = ""

    def environ(self, **more: str) -> dict[str, str]:
        """What makes a service send its traces here, and soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}

    def wait_for(self, wanted: Callable[[list[CollectedSpan]], Any]) -> list[CollectedSpan]:
        """All spans, once they are as wanted."""
        deadline = time.monotonic() + DEADLINE_S
        while not wanted(self.spans):
            told = [(span.service, span.name) for span in self.spans]
            assert time.monotonic() < deadline, f"not among the spans: {told}"
            time.sleep(0.02)
        return list(self.spans)

    def trace(self, trace_id: str, *names: str) -> list[CollectedSpan]:
        """The spans of a trace, once there are some of these names."""

        def own(spans: list[CollectedSpan]) -> list[CollectedSpan]:
            return [span for span in spans if span.trace_id == trace_id]

        return own(self.wait_for(lambda spans: set(names) <= {span.name for span in own(spans)}))

    def take(self, body: bytes) -> None:
        """Keep what a request brings."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _attributes(resource.resource)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]


def _span(service: str, span: Any) -> CollectedSpan:
    return CollectedSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=_attributes(span),
        events=[event.name for event in span.events],
        links=[link.span_id.hex() for link in span.links],
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        whole=str(span),
    )


def _attributes(holder: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in holder.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.requests += 1
            if collector.hangs.is_set():
                collector.let_go.wait()
                return
            assert self.path == "/v1/traces", self.path
            assert self.headers["content-type"] == "application/x-protobuf"
            collector.take(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.let_go.set()
            server.shutdown()
            thread.join()
