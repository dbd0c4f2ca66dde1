"""Logs on stderr: JSON lines for machines, or lines for a person at a terminal.

What libraries log by `logging` (granian, asyncio, aiohttp ...) goes the same way, from warnings on: what they
say below that may repeat what users write.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import structlog
from msgspec import Meta
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from bobbin_telemetry.requests import current_request_id
from bobbin_telemetry.tracing import add_trace_ids

LogFormat: TypeAlias = Annotated[
    Literal["auto", "json", "console"],
    Meta(description="Form of the logs: `json`, `console`, or `auto`: as it is a terminal or not"),
]
LogLevel: TypeAlias = Annotated[
    Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged")
]
AccessLog: TypeAlias = Annotated[bool, Meta(description="Whether each request is logged when it has ended")]

GRANIAN_LOGS: Final[dict[str, Any]] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
"""For granian's `log_dictconfig`: it has no handlers of its own."""

log = structlog.stdlib.get_logger()


def configure_logs(service: str, log_format: LogFormat = "auto", log_level: LogLevel = "info") -> None:
    """Set up the logs of this process; again after a fork."""
    about: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        add_trace_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not is_console(log_format):
        about.append(_Origin(service))
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_plainly)]
        if is_console(log_format)
        else [
            structlog.processors.ExceptionRenderer(_exception),
            structlog.processors.JSONRenderer(default=repr),
        ]
    )
    structlog.configure(
        processors=[*about, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*about, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[log_level.upper()]))


def is_console(log_format: LogFormat) -> bool:
    """Whether logs are lines for a person."""
    return log_format == "console" or (log_format == "auto" and sys.stderr.isatty())


def log_start(settings: Mapping[str, Any], mistyped: Mapping[str, str]) -> None:
    """Say with what settings a service starts, and which variables look as if they were meant to be some."""
    log.info("settings", settings=dict(settings))
    for name, meant in mistyped.items():
        log.warning("unknown setting", name=name, meant=meant)


class _Origin:
    """Adds whose line it is. The process is asked for its id each time: it may have been forked."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        del logger, method
        event["service"] = self._service
        event["pid"] = os.getpid()
        return event


def _add_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    if request_id := current_request_id():
        event.setdefault("request_id", request_id)
    return event


# Local variables hold secrets and what users write. By default they are shown as soon as `rich` is installed.
_plainly = structlog.dev.plain_traceback
_describe = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)


def _exception(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """An exception as data, with the first line of what it says: the rest may hold rows of the database."""
    return [_first_line(described) for described in _describe(exc_info)]


def _first_line(described: dict[str, Any]) -> dict[str, Any]:
    lines = str(described["exc_value"]).splitlines()
    described["exc_value"] = lines[0][:_LONGEST_SAYING] if lines else ""
    described["exceptions"] = [[_first_line(one) for one in group] for group in described["exceptions"]]
    return described


_LONGEST_SAYING = 500
