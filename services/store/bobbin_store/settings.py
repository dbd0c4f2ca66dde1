"""The store's settings, read once from the environment."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta

from bobbin_protocol.settings import SECRET, SECRET_URL
from bobbin_telemetry.logs import AccessLog, LogFormat, LogLevel

NAME = "bobbin-store"
"""How the service is called in messages, logs and traces."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the environment variable of the same name in capitals."""

    store_host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    store_port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 8001
    store_metrics_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port of `GET /metrics` for Prometheus, on the same address; `0`: there is none.",
        ),
    ] = 0
    store_token: Annotated[
        str,
        Meta(
            min_length=16,
            pattern=r"^[\x21-\x7e]+\Z",
            description="Secret that every caller shows as a bearer token.",
            extra=SECRET,
        ),
    ]
    store_workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes.")] = 1
    database_url: Annotated[
        str,
        Meta(
            pattern=r"^(postgres(ql)?://.*)?\Z",
            description="PostgreSQL to use, version 14 or later; empty: an embedded one under `DATA_DIR`.",
            extra=SECRET_URL,
        ),
    ] = ""
    database_password: Annotated[
        str, Meta(description="The password for `DATABASE_URL`, if that has none.", extra=SECRET)
    ] = ""
    data_dir: Annotated[str, Meta(min_length=1, description="Folder of the embedded database.")] = ".data"
    store_pool_size: Annotated[
        int,
        Meta(
            ge=1,
            le=500,
            description="Database connections of this store, at most, shared among its workers; each worker "
            "has one more for its health. `max_connections` of PostgreSQL must hold those of all stores.",
        ),
    ] = 10
    store_pool_wait_s: Annotated[
        float, Meta(gt=0, le=300, description="How long a request waits for a connection, in seconds.")
    ] = 5.0
    store_statement_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="How long one statement may run, in seconds.")
    ] = 10.0
    store_database_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long a start waits for a database that does not answer, in seconds.",
        ),
    ] = 30.0
    store_max_body_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest request body that is read, in bytes.")
    ] = 16 * 1024 * 1024
    store_stop_timeout_s: Annotated[
        int, Meta(ge=1, le=3600, description="How long a stop waits for requests to finish, in seconds.")
    ] = 15

    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    access_log: AccessLog = False

    def check(self) -> None:
        """Refuse combinations that are each fine alone.

        Raises:
            ValueError: One sentence per mistake.
        """
        mistakes: list[str] = []
        if self.database_password and not self.database_url:
            mistakes.append("DATABASE_PASSWORD needs a DATABASE_URL")
        if self.database_password and _has_password(self.database_url):
            mistakes.append("DATABASE_PASSWORD is set, and DATABASE_URL has a password too")
        if self.store_pool_size < self.store_workers:
            mistakes.append("STORE_POOL_SIZE is smaller than STORE_WORKERS: each needs a connection")
        if self.store_metrics_port == self.store_port:
            mistakes.append("STORE_METRICS_PORT is the same as STORE_PORT: metrics need their own")
        if mistakes:
            raise ValueError("\n".join(mistakes))

    @property
    def worker_pool_size(self) -> int:
        """Database connections of one worker, at most."""
        return self.store_pool_size // self.store_workers

    @property
    def dsn(self) -> str:
        """`database_url` with its password."""
        if not self.database_password:
            return self.database_url
        url = urlsplit(self.database_url)
        user, _, hosts = url.netloc.rpartition("@")
        password = quote(self.database_password, safe="")
        return url._replace(netloc=f"{user.removesuffix(':')}:{password}@{hosts}").geturl()


def _has_password(url: str) -> bool:
    credentials, _, _ = urlsplit(url).netloc.rpartition("@")
    return bool(credentials.partition(":")[2])
