"""The spans of the requests that a service answers, around its ASGI application; and tracing switched on.

The environment decides, by OpenTelemetry's own variables: without an endpoint there are no traces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

from bobbin_telemetry import tracing
from bobbin_telemetry.asgi import Application, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from bobbin_telemetry.otlp import OpenTelemetry

FLUSH_S = 2.0
"""How long a process that stops tries to send its last spans."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SAMPLERS = frozenset({"always_on", "always_off", "traceidratio"})
_UNSEEN = ("/health/", "/metrics")
"""Paths that are asked for all the time, by machines."""
_SERVER_ERROR = 500


def unset_empty(environ: MutableMapping[str, str]) -> None:
    """Drop OpenTelemetry's variables that are empty. They mean the same; not everyone reads them so."""
    for name in [name for name in environ if name.startswith("OTEL_") and not environ[name].strip()]:
        del environ[name]


class WrongTracing(ValueError):
    """What the environment says about traces cannot be done; the text names the variable."""


def traced(app: Application, service: str, environ: Mapping[str, str]) -> Application:
    """The application, with spans if traces are wanted. To be called in the process that serves it."""
    if not wants_traces(environ):
        return app
    from bobbin_telemetry.otlp import OpenTelemetry  # noqa: PLC0415 (loads what is else not needed)

    opentelemetry = OpenTelemetry(service)
    tracing.switch(opentelemetry)
    return _Traced(app, opentelemetry)


def wants_traces(environ: Mapping[str, str]) -> bool:
    """Whether traces are to be sent somewhere."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    off = disabled or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in _ENDPOINTS)


def check_traces(environ: Mapping[str, str], distribution: str) -> None:
    """See whether traces can be sent, if they are wanted.

    Raises:
        WrongTracing: They cannot.
    """
    if not wants_traces(environ):
        return
    for name in _ENDPOINTS:
        if not environ.get(name, "http://").startswith(("http://", "https://")):
            raise WrongTracing(f"{name}: must be an http or https URL")
    for name in ("OTEL_TRACES_EXPORTER", *_PROTOCOLS):
        only = "otlp" if name == "OTEL_TRACES_EXPORTER" else "http/protobuf"
        if environ.get(name) not in {None, "", only}:
            raise WrongTracing(f"{name}={environ[name]}: only {only} is supported")
    _check_sampler(environ.get("OTEL_TRACES_SAMPLER"), environ.get("OTEL_TRACES_SAMPLER_ARG"))
    try:
        import_module("bobbin_telemetry.otlp")  # before the fork: its pages are shared by all workers
    except ImportError as error:
        name = next(name for name in _ENDPOINTS if environ.get(name))
        raise WrongTracing(f"{name} needs OpenTelemetry: install {distribution}[traces]") from error


def _check_sampler(sampler: str | None, argument: str | None) -> None:
    if not sampler:
        return
    if sampler.removeprefix("parentbased_") not in _SAMPLERS:
        known = ", ".join(sorted(_SAMPLERS))
        raise WrongTracing(f"OTEL_TRACES_SAMPLER={sampler}: must be {known}, or one with parentbased_ before")
    if sampler.endswith("traceidratio") and argument is not None and not _is_ratio(argument):
        raise WrongTracing(f"OTEL_TRACES_SAMPLER_ARG={argument}: must be between 0 and 1")


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


class _Traced:
    """An application whose requests are spans, and whose last spans are sent before it has stopped."""

    def __init__(self, app: Application, opentelemetry: OpenTelemetry) -> None:
        self._app = app
        self._opentelemetry = opentelemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            tracing.untrace()  # what goes on in the background comes from here
            await self._app(scope, receive, self._flushing(send))
        elif scope["type"] != "http" or scope["path"].startswith(_UNSEEN):
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _flushing(self, send: Send) -> Send:
        async def flush_first(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await self._opentelemetry.close(FLUSH_S)
            await send(message)

        return flush_first

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method: str = scope["method"]
        with tracing.served(headers, {"http.request.method": method, "url.scheme": scope["scheme"]}) as span:

            def note_start(message: Message) -> Awaitable[None]:
                if message["type"] == "http.response.start":
                    _note(span, method, scope.get("path_template"), message["status"])
                return send(message)  # no coroutine of our own: a stream comes here with each of its events

            await self._app(scope, receive, note_start)


def _note(span: tracing.Span, method: str, route: str | None, status: int) -> None:
    """Name the request by its route, never by its path: that may hold a token."""
    span.rename(f"{method} {route}" if route else method)
    span.set({"http.response.status_code": status} | ({"http.route": route} if route else {}))
    if status >= _SERVER_ERROR:
        span.fail(str(status))
