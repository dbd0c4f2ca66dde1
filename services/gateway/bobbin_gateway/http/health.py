"""Liveness: the process runs its loop. Readiness: it can serve, which takes a store that can."""

from __future__ import annotations

from litestar import Response, get

from bobbin_gateway.auth import HttpRequest
from bobbin_gateway.gateway import gateway_of


@get("/health/live", sync_to_thread=False)
def live() -> dict[str, str]:
    """Answer 200 as long as the process answers at all."""
    return {"status": "live"}


@get("/health/ready")
async def ready(request: HttpRequest) -> Response[dict[str, str]]:
    """Answer 200 if turns can begin, else 503."""
    gateway = gateway_of(request)
    if gateway.engine.draining:
        return Response({"status": "stopping"}, status_code=503)
    if not gateway.listening.done():
        return Response({"status": "starting"}, status_code=503)
    if await gateway.store.is_ready():
        return Response({"status": "ready"})
    return Response({"status": "the store is not ready"}, status_code=503)
