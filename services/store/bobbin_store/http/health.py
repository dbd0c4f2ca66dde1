"""``/health``: for whoever restarts processes or routes requests to them; no token needed."""

from litestar import get

from bobbin_store.http.exchange import AnyRequest, database_of


@get("/health/live")
async def live() -> dict[str, str]:
    """Answer while the process does."""
    return {"status": "live"}


@get("/health/ready")
async def ready(request: AnyRequest) -> dict[str, str]:
    """Answer 200 while the database does, else 503."""
    await database_of(request).check()
    return {"status": "ready"}


ROUTES = [live, ready]
