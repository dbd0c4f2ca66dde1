"""A worker process of a service, from the fork until it serves."""

from __future__ import annotations

import gc
import os
import signal
import threading
from multiprocessing import parent_process

from bobbin_telemetry.asgi import Application
from bobbin_telemetry.logs import LogFormat, LogLevel, configure_logs
from bobbin_telemetry.metrics import RequestMetrics
from bobbin_telemetry.requests import NamedRequests, with_body_send
from bobbin_telemetry.serving import traced

_COLLECTIONS = 10_000, 20, 20
"""After how many new objects, and how many such collections, the next generation is searched for garbage.
Nearly all dies by its reference count: searching every 700 objects, as by default, costs 3 to 5 % of all
CPU."""


def begin_worker(service: str, log_format: LogFormat, log_level: LogLevel) -> None:
    """What a worker does first; from then on it ends with its parent, which nobody else could stop it for.

    Also before it serves: a signal to stop is not lost on the handlers that it has from its parent.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_DFL)  # until granian sets its own
    gc.freeze()  # what was loaded before the fork is never garbage: a collection would copy all its pages
    gc.set_threshold(*_COLLECTIONS)
    configure_logs(service, log_format, log_level)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def observed(
    app: Application, service: str, *, access_log: bool, requests: RequestMetrics | None
) -> Application:
    """The application with its requests named, traced if wanted, and counted if there is whom to tell."""
    app = traced(NamedRequests(app, access_log=access_log), service, os.environ)
    return with_body_send(app if requests is None else requests.measured(app))
