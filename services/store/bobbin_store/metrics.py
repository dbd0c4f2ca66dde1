"""All that a store measures. Where it is measured, one line says so; here it has its name and its meaning."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from bobbin_telemetry.metrics import LATENCIES, RequestMetrics, WorkerMetrics

REQUESTS: Final = RequestMetrics("store")
WORKER: Final = WorkerMetrics("store")

POOL_LIMIT: Final = Gauge(
    "bobbin_store_pool_connections_limit",
    "Most database connections that all workers may have in their pools.",
    multiprocess_mode="livesum",
)
POOL_CONNECTIONS: Final = Gauge(
    "bobbin_store_pool_connections", "Database connections that are open.", multiprocess_mode="livesum"
)
POOL_IN_USE: Final = Gauge(
    "bobbin_store_pool_connections_in_use",
    "Database connections that serve a request now.",
    multiprocess_mode="livesum",
)
POOL_WAITING: Final = Gauge(
    "bobbin_store_pool_waiting", "Requests that wait for a database connection.", multiprocess_mode="livesum"
)
POOL_WAIT_SECONDS: Final = Histogram(
    "bobbin_store_pool_wait_seconds",
    "How long a session waited for its database connection, unless one was at hand.",
    buckets=LATENCIES,
)
POOL_TIMEOUTS: Final = Counter(
    "bobbin_store_pool_timeouts", "Sessions that waited for a database connection in vain."
)
SESSION_SECONDS: Final = Histogram(
    "bobbin_store_database_session_seconds",
    "How long a session had its database connection: mostly one transaction.",
    buckets=LATENCIES,
)
DATABASE_UNAVAILABLE: Final = Counter(
    "bobbin_store_database_unavailable", "Sessions that ended because the database was away or too busy."
)

READY: Final = Gauge(
    "bobbin_store_ready",
    "Workers that are ready: the database answers, and is migrated.",
    multiprocess_mode="livesum",
)
SCHEMA_VERSION: Final = Gauge(
    "bobbin_store_schema_version",
    "Number of the last migration that the database has, as last seen; 0: never seen.",
    multiprocess_mode="livemax",
)
