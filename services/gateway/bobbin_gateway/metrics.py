"""All that a gateway measures. Where it is measured, one line says so; here it has its name and its meaning.

No label holds an id, a path or a word of a user's or a model's: the number of series is known beforehand.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from bobbin_telemetry.metrics import LATENCIES, RequestMetrics, WorkerMetrics

_WAITS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Bounds of what a person waits for, in seconds."""
_TURNS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0)

REQUESTS: Final = RequestMetrics("gateway")
WORKER: Final = WorkerMetrics("gateway")

TURNS_STARTED: Final = Counter("bobbin_gateway_turns_started", "Turns that began to run here.")
TURNS_RUNNING: Final = Gauge(
    "bobbin_gateway_turns_running", "Turns that run here now.", multiprocess_mode="livesum"
)
TURNS_ENDED: Final = Counter(
    "bobbin_gateway_turns_ended",
    "Turns that ended here: completed, cancelled, failed, interrupted, unsaved (the store has not taken its "
    "end), handed_over (another gateway has it).",
    ["outcome"],
)
TURNS_FAILED: Final = Counter(
    "bobbin_gateway_turns_failed",
    "Turns that failed or were interrupted, by reason; those that begin with model_ are the model service's.",
    ["reason"],
)
TURNS_TAKEN_OVER: Final = Counter(
    "bobbin_gateway_turns_taken_over", "Turns taken over from a gateway that died or stopped."
)
FIRST_TOKEN_SECONDS: Final = Histogram(
    "bobbin_gateway_time_to_first_token_seconds",
    "Time from a request to the first event of the agent's answer.",
    buckets=_WAITS,
)
TURN_SECONDS: Final = Histogram(
    "bobbin_gateway_turn_duration_seconds", "Time from a request to the end of its turn.", buckets=_TURNS
)
EVENTS: Final = Counter("bobbin_gateway_events", "Events of turns that run here.")

READERS: Final = Gauge("bobbin_gateway_readers", "Clients that read a turn now.", multiprocess_mode="livesum")
FEEDS: Final = Gauge("bobbin_gateway_feeds", "Live feeds that are open now.", multiprocess_mode="livesum")
RESUMES: Final = Counter(
    "bobbin_gateway_resumes",
    "Clients that came back to a turn, by where it runs: here, or elsewhere (or it has ended).",
    ["place"],
)

JOURNAL_LAG: Final = Gauge(
    "bobbin_gateway_journal_lag_seconds",
    "Age of the oldest event that waits for the journal, in the worker where it is oldest.",
    multiprocess_mode="livemax",
)
JOURNAL_BUFFER: Final = Gauge(
    "bobbin_gateway_journal_buffer_bytes", "Events that wait for the journal.", multiprocess_mode="livesum"
)
JOURNAL_BUFFER_LIMIT: Final = Gauge(
    "bobbin_gateway_journal_buffer_limit_bytes",
    "Most of them that may wait before agents are held up.",
    multiprocess_mode="livesum",
)

STORE_CALL_SECONDS: Final = Histogram(
    "bobbin_gateway_store_call_seconds",
    "Duration of calls to the store, by operation (write_journal: one flush of the journal) and outcome "
    "(ok, refused, unavailable, cancelled).",
    ["operation", "outcome"],
    buckets=LATENCIES,
)

MODEL_REQUESTS: Final = Counter(
    "bobbin_gateway_model_requests",
    "HTTP requests to the model service, tries again included, by outcome: the status, or timeout, "
    "unreachable, cancelled.",
    ["outcome"],
)
MODEL_RESPONSE_SECONDS: Final = Histogram(
    "bobbin_gateway_model_response_start_seconds",
    "Time from an HTTP request to the model service to the first byte of its answer.",
    buckets=_WAITS,
)
TOKENS: Final = Counter(
    "bobbin_gateway_tokens",
    "Tokens used by turns that ended here, as the model service counts them: input or output.",
    ["direction"],
)

TOOL_CALLS: Final = Counter(
    "bobbin_gateway_tool_calls", "Calls of tools that run here, by outcome: ok or failed.", ["outcome"]
)
TOOL_SECONDS: Final = Histogram(
    "bobbin_gateway_tool_call_seconds", "Duration of calls of tools that run here.", buckets=_WAITS
)

DRAINING: Final = Gauge(
    "bobbin_gateway_draining", "Workers that are about to stop.", multiprocess_mode="livesum"
)
READY: Final = Gauge("bobbin_gateway_ready", "Workers that are ready.", multiprocess_mode="livesum")

for metric, values in (
    (TURNS_ENDED, ("completed", "cancelled", "failed", "interrupted", "unsaved", "handed_over")),
    (RESUMES, ("here", "elsewhere")),
    (TOKENS, ("input", "output")),
    (TOOL_CALLS, ("ok", "failed")),
):
    for value in values:
        metric.labels(value)  # from the beginning: the step from no series to 1 is not seen as an increase
