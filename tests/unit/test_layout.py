"""Tests mirror modules: `x.py` is tested by `test_x.py`, or it stands here with a reason."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGES = {
    ROOT / "shared/bobbin_protocol": ROOT / "tests/unit/protocol",
    ROOT / "shared/telemetry/bobbin_telemetry": ROOT / "tests/unit/telemetry",
    ROOT / "services/gateway/bobbin_gateway": ROOT / "tests/unit/gateway",
    ROOT / "services/store/bobbin_store": ROOT / "tests/unit/store",
    ROOT / "services/gateway/examples/tasks": ROOT / "tests/unit/examples/tasks",
}

TYPES = "types only: each is tested both ways against the reference in tests/conformance/test_types.py"
CONTRACT = "types only: used by every test of the store's HTTP API"
THROUGH_HTTP = "tested through HTTP and real processes in tests/integration/gateway"
ROUTES = "routes only: tested with the module of the same name next to `http`"

ELSEWHERE = {
    "bobbin_protocol/events.py": TYPES,
    "bobbin_protocol/icons.py": TYPES,
    "bobbin_protocol/pages.py": TYPES,
    "bobbin_protocol/responses.py": TYPES,
    "bobbin_protocol/sources.py": TYPES,
    "bobbin_protocol/updates.py": TYPES,
    "bobbin_protocol/widgets/charts.py": TYPES,
    "bobbin_protocol/widgets/component.py": TYPES,
    "bobbin_protocol/widgets/content.py": TYPES,
    "bobbin_protocol/widgets/controls.py": TYPES,
    "bobbin_protocol/widgets/layout.py": TYPES,
    "bobbin_protocol/widgets/tree.py": "tested in tests/unit/protocol/test_widgets.py",
    "bobbin_protocol/widgets/values.py": TYPES,
    "bobbin_protocol/feed.py": CONTRACT,
    "bobbin_protocol/problem.py": CONTRACT,
    "bobbin_protocol/store/blobs.py": CONTRACT,
    "bobbin_protocol/store/feedback.py": CONTRACT,
    "bobbin_protocol/store/gateways.py": CONTRACT,
    "bobbin_protocol/store/items.py": CONTRACT,
    "bobbin_protocol/store/journal.py": CONTRACT,
    "bobbin_protocol/store/owners.py": CONTRACT,
    "bobbin_protocol/store/threads.py": CONTRACT,
    "bobbin_protocol/store/turns.py": CONTRACT,
    "bobbin_protocol/store/watch.py": CONTRACT,
    "bobbin_gateway/agent.py": "an interface: used by every agent under test",
    "bobbin_gateway/abilities.py": "tests/integration/gateway/test_follow_ups.py and test_agent_calls.py",
    "bobbin_gateway/app.py": "wiring: tests/integration/test_run.py",
    "bobbin_gateway/assistant.py": "a struct: tests/unit/gateway/openai_agent/test_acting.py",
    "bobbin_gateway/auth.py": "tests/integration/gateway/test_owners.py",
    "bobbin_gateway/demo_model/answer.py": "tested with each dialect, test_chat.py and test_responses.py",
    "bobbin_gateway/files/attachments.py": "tests/integration/gateway/files",
    "bobbin_gateway/files/sweeping.py": "tests/integration/gateway/files/test_removal.py",
    "bobbin_gateway/gateway.py": "a struct",
    "bobbin_gateway/http/agent_calls.py": "tests/integration/gateway/test_agent_calls.py",
    "bobbin_gateway/http/answers.py": THROUGH_HTTP,
    "bobbin_gateway/http/chatkit.py": THROUGH_HTTP,
    "bobbin_gateway/http/feeds.py": "tests/integration/gateway/test_feeds.py",
    "bobbin_gateway/http/files.py": "tests/integration/gateway/files",
    "bobbin_gateway/http/health.py": "tests/integration/gateway/test_failures.py",
    "bobbin_gateway/http/paths.py": "tests/integration/gateway/test_resume.py",
    "bobbin_gateway/http/turn_inputs.py": THROUGH_HTTP,
    "bobbin_gateway/http/turns.py": "tests/integration/gateway/test_resume.py and test_cancel.py",
    "bobbin_gateway/listening.py": "tests/integration/gateway/test_disconnect.py",
    "bobbin_gateway/openai_agent/provider_errors.py": "tests/unit/gateway/openai_agent/test_failures.py",
    "bobbin_gateway/openai_agent/responses_events.py": "types only: tested with responses_reader.py",
    "bobbin_gateway/openai_agent/spans.py": "tests/integration/gateway/test_traces.py",
    "bobbin_gateway/openai_agent/titling.py": "tests/unit/gateway/openai_agent/test_agent.py",
    "bobbin_gateway/metrics.py": "names only: tests/integration/test_metrics.py",
    "bobbin_gateway/process.py": "tests/integration/gateway/test_stop.py and ../test_metrics.py",
    "bobbin_gateway/sampling.py": "tests/integration/test_metrics.py",
    "bobbin_gateway/shutdown.py": "tests/integration/gateway/test_stop.py",
    "bobbin_gateway/store.py": THROUGH_HTTP,
    "bobbin_gateway/tools/context.py": "tested with the tools that use it",
    "bobbin_gateway/tools/mcp/limits.py": "a number and an exception",
    "bobbin_gateway/tools/mcp/session.py": "tested with test_connection.py and test_server_tool.py",
    "bobbin_gateway/tools/tool.py": "an interface: used by every tool under test",
    "bobbin_gateway/turns/answering.py": THROUGH_HTTP,
    "bobbin_gateway/turns/desertion.py": "tests/integration/gateway/test_disconnect.py",
    "bobbin_gateway/turns/frames.py": "tests/integration/gateway/test_takeover.py and test_standing_items.py",
    "bobbin_gateway/turns/measures.py": "tests/integration/test_metrics.py",
    "bobbin_gateway/turns/naming.py": THROUGH_HTTP,
    "bobbin_gateway/turns/opening.py": THROUGH_HTTP,
    "bobbin_gateway/turns/request.py": "a struct",
    "bobbin_gateway/turns/registry.py": THROUGH_HTTP,
    "bobbin_gateway/turns/running.py": THROUGH_HTTP,
    "bobbin_gateway/turns/spans.py": "tests/integration/gateway/test_traces.py and ../test_logs.py",
    "bobbin_gateway/turns/source.py": "tests/integration/gateway/test_resume.py",
    "bobbin_store/errors.py": "tests/unit/store/test_problems.py",
    "bobbin_store/metrics.py": "names only: tests/integration/test_metrics.py",
    "bobbin_store/process.py": "tests/integration/store/test_process.py",
    "bobbin_store/http/attachments.py": ROUTES,
    "bobbin_store/http/blobs.py": ROUTES,
    "bobbin_store/http/feedback.py": ROUTES,
    "bobbin_store/http/gateways.py": ROUTES,
    "bobbin_store/http/health.py": "tests/unit/store/test_app.py and tests/integration/store",
    "bobbin_store/http/items.py": ROUTES,
    "bobbin_store/http/owners.py": ROUTES,
    "bobbin_store/http/threads.py": ROUTES,
    "bobbin_store/http/turns.py": ROUTES,
    "bobbin_store/http/watch.py": ROUTES,
    "bobbin_telemetry/asgi.py": "types only",
    "bobbin_telemetry/otlp.py": "tests/integration/gateway/test_traces.py",
    "tasks/agent.py": "wiring: tests/integration/test_tasks.py",
    "tasks/settings.py": "wiring: tests/integration/test_tasks.py",
}
"""Module: where it is tested, and why there."""


def test_every_module_has_its_tests() -> None:
    missing = [
        f"{module.relative_to(package.parent)}"
        for package, tests in PACKAGES.items()
        for module in sorted(package.rglob("*.py"))
        if module.name not in {"__init__.py", "__main__.py"}
        and not (tests / module.relative_to(package)).with_name(f"test_{module.name}").exists()
    ]
    assert [name for name in missing if name not in ELSEWHERE] == []
    assert [name for name in ELSEWHERE if name not in missing] == [], "tested now: take it off the list"
