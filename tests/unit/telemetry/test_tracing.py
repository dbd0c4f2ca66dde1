"""Tracing while it is off: nothing of OpenTelemetry is loaded, and everything may be called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bobbin_telemetry import tracing


@pytest.mark.parametrize(
    "module", ["bobbin_gateway.__main__", "bobbin_store.__main__", "bobbin_gateway.openai_agent.agent"]
)
def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded(module: str) -> None:
    code = f"""
import os, sys, {module}
from bobbin_telemetry.serving import check_traces, traced
check_traces(os.environ, "bobbin")
app = object()
assert traced(app, "bobbin", os.environ) is app
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert done.stdout == "[]\n", done.stderr


def test_what_is_off_can_be_called_all_the_same() -> None:
    headers = {"accept": "text/plain"}
    with tracing.span("something", {"some.number": 1}, "client") as span, span.active():
        span.set({"more": "words"})
        span.event("something happened")
        span.link(tracing.current())
        tracing.inject(headers)
        tracing.untrace()
    assert span is tracing.NOTHING
    assert not tracing.is_on()
    assert headers == {"accept": "text/plain"}
    assert tracing.add_trace_ids(None, "info", {"event": "hello"}) == {"event": "hello"}


def test_an_exception_leaves_a_span_as_it_is() -> None:
    with pytest.raises(LookupError, match="found"), tracing.span("something"):
        raise LookupError("not found")
