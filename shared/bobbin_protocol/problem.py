"""The body of every error answer of both services: an RFC 9457 problem."""

from __future__ import annotations

from typing import Literal

from bobbin_protocol.wire import Wire

MEDIA_TYPE = "application/problem+json"

ProblemCode = Literal[
    "invalid_request",  # 400, 422: the request itself is wrong; `field` names what
    "unauthorized",  # 401
    "forbidden",  # 403: a signed URL that is not ours, or has expired
    "not_found",  # 404: absent, or another owner's: the two look the same
    "method_not_allowed",  # 405
    "conflict",  # 409: an id is taken, or a turn has already ended otherwise
    "thread_locked",  # 409: the thread takes no messages for now
    "thread_closed",  # 409: the thread takes no messages any more
    "no_pending_call",  # 409: the thread does not end with a client tool call that waits for its output
    "not_pending",  # 409: the questions have been answered or skipped already
    "wrong_sender",  # 400: the item that an action is said to come from is no widget
    "agent_failed",  # 422: the agent could not do what was asked of it; the message says why
    "turn_running",  # 409: a turn runs in the thread (`turn_id`), and the caller would rather wait
    "lease_lost",  # 409: the turn belongs to another gateway by now
    "key_reused",  # 422: the idempotency key came with another request before
    "too_large",  # 413
    "unsupported_media_type",  # 415
    "too_many_requests",  # 429
    "internal",  # 500
    "unavailable",  # 503: the store or its database is away; worth another try
]


class Problem(Wire):
    """What went wrong, for people (`title`, `detail`) and for programs (`status`, `code`, `field`)."""

    title: str
    status: int
    code: ProblemCode
    detail: str
    """One sentence for the caller. Never holds internals or another owner's data."""
    message: str
    """The same sentence again: chatkit.js shows this member of a failed answer."""
    field: str | None = None
    """JSON path (``$.params.thread_id``), header or query parameter at fault."""
    turn_id: str | None = None
    """With ``turn_running``: the turn that runs."""
