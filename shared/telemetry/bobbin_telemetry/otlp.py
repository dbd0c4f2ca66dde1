"""Traces by OpenTelemetry, sent by OTLP over HTTP; set up once in each worker process, after the fork.

Spans wait in a bounded queue, and a thread sends them in batches: a collector that is away or stands still
holds up nothing but that thread, and what finds no room is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import Token
from types import TracebackType
from typing import Self
from uuid import uuid4

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bobbin_telemetry.tracing import NOTHING, Attributes, Kind, Span

log = structlog.get_logger()

_COMPLAINT_INTERVAL_S = 60.0

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "client": trace.SpanKind.CLIENT,
    "server": trace.SpanKind.SERVER,
}
_FAILED = trace.Status(trace.StatusCode.ERROR)


class OpenTelemetry:
    """Makes spans (`tracing.Tracing`)."""

    def __init__(self, service: str) -> None:
        """Begin as the variables ``OTEL_...`` say; `service` is the name if they give none."""
        _complain_seldom()
        named = Resource({"service.name": service, "service.instance.id": str(uuid4())})
        resource = Resource.create(named.merge(OTELResourceDetector().detect()).attributes)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(self._provider)  # an agent of one's own makes its spans in our traces
        self._tracer = self._provider.get_tracer("bobbin")
        self._propagator = TraceContextTextMapPropagator()
        ids = self._provider.id_generator
        unsampled = trace.SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False)
        self._untraced = trace.NonRecordingSpan(unsampled)

    async def close(self, wait_s: float) -> None:
        """Send what there is, as far as that can be done in time. The thread that tries is left alone."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # too late, the loop is closed
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=shut_down, name="last traces", daemon=True).start()
        try:
            async with asyncio.timeout(wait_s):
                await sent.wait()
        except TimeoutError:
            log.warning("last traces not sent", reason=f"not taken by the collector within {wait_s:g} s")

    def span(self, name: str, attributes: Attributes, kind: Kind, *, active: bool, root: bool) -> Span:
        """A span below the current one."""
        parent = context.Context() if root else context.get_current()
        if trace.get_current_span(parent) is self._untraced:
            return NOTHING
        return _Span(self._tracer.start_span(name, parent, _KINDS[kind], attributes), active=active)

    def served(self, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """A span below that of the caller."""
        caller = self._propagator.extract(headers, context.Context())
        span = self._tracer.start_span("request", caller, _KINDS["server"], attributes)
        return _Span(span, active=True)

    def past(self, name: str, attributes: Attributes, seconds: float, failure: str | None) -> None:
        """A span that ends now. By now its parent may be over."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            name, None, _KINDS["client"], attributes, start_time=end - int(seconds * 1e9)
        )
        if failure is not None:
            _fail(span, failure)
        span.end(end)

    def current(self) -> Span:
        """The current span, whoever made it."""
        return _Span(trace.get_current_span(), active=False)

    def untrace(self) -> None:
        """Make a span that is not recorded the current one, for good."""
        context.attach(trace.set_span_in_context(self._untraced))

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Name the current span."""
        self._propagator.inject(headers)

    def ids(self) -> tuple[str, str] | None:
        """Of trace and span, in their usual forms."""
        span = trace.get_current_span()
        if not span.is_recording():
            return None
        of = span.get_span_context()
        return trace.format_trace_id(of.trace_id), trace.format_span_id(of.span_id)


class _Span:
    """A span of OpenTelemetry's as `tracing.Span` has it."""

    __slots__ = ("_active", "_span", "_token")

    def __init__(self, span: trace.Span, *, active: bool) -> None:
        self._span = span
        self._active = active
        self._token: Token[context.Context] | None = None

    def __enter__(self) -> Self:
        if self._active:
            self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):  # to be cancelled, or left early, is no failure
            self.fail(type(error).__name__)
        if self._token is not None:
            context.detach(self._token)
        self._span.end()

    @property
    def context(self) -> trace.SpanContext:
        """Which one it is."""
        return self._span.get_span_context()

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def event(self, name: str) -> None:
        self._span.add_event(name)

    def fail(self, kind: str) -> None:
        _fail(self._span, kind)

    def link(self, other: Span) -> None:
        if isinstance(other, _Span):
            self._span.add_link(other.context)

    @contextmanager
    def active(self) -> Generator[None]:
        token = context.attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            context.detach(token)


def _fail(span: trace.Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(_FAILED)


class _SeldomHandler(logging.Handler):
    """Says in our log what OpenTelemetry complains about, once a minute at most."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.created >= self._next:
            self._next = record.created + _COMPLAINT_INTERVAL_S
            log.warning("traces are not sent", reason=record.getMessage())


def _complain_seldom() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_SeldomHandler()]
    logger.propagate = False
