"""Liveness: the worker runs its loop. Readiness: turns can begin here.

Nobody is asked for it: the lease, renewed every second, says whether the store and its database answer. So a
probe costs nothing, never hangs with them, and a short outage, which turns wait out, changes nothing. (Were
all gateways out of rotation for it, clients would get errors that the gateways spare them.)
"""

from __future__ import annotations

from litestar import Response, get

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.gateway import READY, gateway_of


@get("/health/live", sync_to_thread=False)
def live() -> dict[str, str]:
    """Answer 200 as long as the worker's loop runs."""
    return {"status": "live"}


@get("/health/ready", sync_to_thread=False)
def ready(request: HttpRequest) -> Response[dict[str, str]]:
    """Answer 200 if turns can begin, else 503."""
    status = gateway_of(request).status
    return Response({"status": status}, status_code=200 if status == READY else 503)
