"""``/health``: for whoever restarts processes or routes requests to them; no token needed."""

from typing import cast

from litestar import get

from bobbin_store.health import Health
from bobbin_store.http.exchange import AnyRequest


@get("/health/live")
async def live() -> dict[str, str]:
    """Answer while the worker runs its loop."""
    return {"status": "live"}


@get("/health/ready")
async def ready(request: AnyRequest) -> dict[str, str]:
    """Answer 200 while the database answers and has the schema that this store needs, else 503."""
    await cast("Health", request.app.state.health).check()
    return {"status": "ready"}


ROUTES = [live, ready]
