"""What the environment says about traces is checked before a service starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bobbin_telemetry.serving import WrongTracing, check_traces, unset_empty, wants_traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "chat"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_an_endpoint_turns_traces_on(environ: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ],
)
def test_what_is_not_supported_is_named(name: str, value: str) -> None:
    with pytest.raises(WrongTracing, match=name):
        check_traces(ENDPOINT | {name: value}, "bobbin-gateway")
    check_traces({name: value} | {"OTEL_SDK_DISABLED": "true"}, "bobbin-gateway")


def test_an_empty_variable_is_none() -> None:
    """As compose files pass them on: the SDK would take an empty URL for one, and stumble over a number."""
    empty = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "", "OTEL_BSP_SCHEDULE_DELAY": " ", "OTHER": ""}
    environ = ENDPOINT | empty
    unset_empty(environ)
    assert environ == ENDPOINT | {"OTHER": ""}
    check_traces(environ, "bobbin-gateway")


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "half"])
def test_a_ratio_is_between_none_and_all(ratio: str) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    with pytest.raises(WrongTracing, match="OTEL_TRACES_SAMPLER_ARG"):
        check_traces(ENDPOINT | sampler, "bobbin-gateway")
    check_traces(ENDPOINT | sampler | {"OTEL_TRACES_SAMPLER_ARG": "0.1"}, "bobbin-gateway")


@pytest.mark.parametrize("service", ["gateway", "store"])
def test_a_service_without_the_packages_says_what_to_install(service: str) -> None:
    """`None` in `sys.modules` is how Python says that there is no such module."""
    code = f"""
import sys
sys.modules["opentelemetry.sdk"] = None
from bobbin_{service}.process import main
main()
"""
    environ = {**ENDPOINT, "STORE_TOKEN": "a-service-token-for-tests", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 1
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: install bobbin-{service}[traces]" in done.stderr
    assert "Traceback" not in done.stderr
