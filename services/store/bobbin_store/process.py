"""The store as processes, with its own PostgreSQL if none is given.

The parent starts and migrates the database, once for all workers, and looks after both until it is told to
stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import ceil
from pathlib import Path

import msgspec
import structlog
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from bobbin_protocol.settings import BrokenSettings, mistyped, read_settings, refusal, shown_settings
from bobbin_store.app import create_app
from bobbin_store.embedded.server import EmbeddedServer
from bobbin_store.errors import CannotStart
from bobbin_store.metrics import REQUESTS
from bobbin_store.migrate import migrate_when_ready
from bobbin_store.settings import NAME, Settings
from bobbin_telemetry.asgi import Application
from bobbin_telemetry.exposition import exposition
from bobbin_telemetry.logs import GRANIAN_LOGS, configure_logs, is_console, log_start
from bobbin_telemetry.ports import check_port
from bobbin_telemetry.serving import FLUSH_S, check_traces, unset_empty
from bobbin_telemetry.worker import begin_worker, observed

log = structlog.stdlib.get_logger()

WATCH_INTERVAL_S = 1.0

MOST_CONNECTIONS = 65_536
"""To one worker. granian counts idle ones, too, of which each worker of a gateway keeps some; at its own
default of 1024 by all workers, a store would stop to answer anyone once it has so many.
"""


def main() -> None:
    """Run the store until SIGTERM or SIGINT; reasons not to start: a line each on stderr, and exit code 1."""
    unset_empty(os.environ)
    try:
        settings = read_settings(Settings, os.environ, [_check_traces, _check_ports])
        configure_logs(NAME, settings.log_format, settings.log_level)
        shown = shown_settings(settings, defaults=not is_console(settings.log_format))
        log_start(shown, mistyped(Settings, os.environ))
        with ExitStack() as stack:
            if not settings.database_url:
                dsn = stack.enter_context(embedded_database(Path(settings.data_dir)))
                settings = msgspec.structs.replace(settings, database_url=dsn)
            asyncio.run(migrate_when_ready(settings.dsn, settings.store_database_wait_s))
            stack.enter_context(exposition(settings.store_host, settings.store_metrics_port))
            serve(settings)
    except (BrokenSettings, CannotStart) as error:
        sys.exit(refusal(NAME, error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def serve(settings: Settings) -> None:
    """Serve with `store_workers` processes; those that die are replaced."""
    server = Granian(
        "bobbin_store",
        address=settings.store_host,
        port=settings.store_port,
        interface=Interfaces.ASGI,
        workers=settings.store_workers,
        loop=Loops.uvloop,
        websockets=False,
        backpressure=MOST_CONNECTIONS,
        log_level=LogLevels.warning,
        log_dictconfig=GRANIAN_LOGS,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.store_stop_timeout_s + ceil(FLUSH_S),
    )
    server.on_startup(lambda: log.info("listening", host=settings.store_host, port=settings.store_port))
    server.serve(target_loader=partial(worker_app, settings), wrap_loader=False)


def worker_app(settings: Settings) -> Application:
    """The application of one worker process; granian calls it there."""
    begin_worker(NAME, settings.log_format, settings.log_level)
    return observed(
        create_app(settings),
        NAME,
        access_log=settings.access_log,
        requests=REQUESTS if settings.store_metrics_port else None,
    )


@contextmanager
def embedded_database(data_dir: Path) -> Generator[str]:
    """Run the embedded PostgreSQL, start it again if it is killed, and give its DSN."""
    server = EmbeddedServer(data_dir)
    leaving = threading.Event()

    def watch() -> None:
        while not leaving.wait(WATCH_INTERVAL_S):
            try:
                if server.restart_if_gone():
                    log.warning("embedded database was gone; started again")
            except CannotStart as error:
                log.error("embedded database is gone", error=str(error))

    server.start()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield server.dsn
    finally:
        leaving.set()
        watcher.join()
        server.stop()


def _check_traces(_settings: Settings) -> None:
    check_traces(os.environ, NAME)


def _check_ports(settings: Settings) -> None:
    check_port(settings.store_host, settings.store_port, "STORE_HOST, STORE_PORT")
    if settings.store_metrics_port:
        check_port(settings.store_host, settings.store_metrics_port, "STORE_HOST, STORE_METRICS_PORT")
