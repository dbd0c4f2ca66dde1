"""The store's settings, read once from the environment."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


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
        ),
    ]
    store_workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes.")] = 1
    database_url: Annotated[
        str,
        Meta(
            pattern=r"^(postgres(ql)?://.*)?\Z",
            description="PostgreSQL to use, version 14 or later; empty: an embedded one under `DATA_DIR`.",
        ),
    ] = ""
    data_dir: Annotated[str, Meta(min_length=1, description="Folder of the embedded database.")] = ".data"
    store_pool_size: Annotated[
        int,
        Meta(
            ge=1, le=500, description="Database connections per worker, at most; one more is for its health."
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
