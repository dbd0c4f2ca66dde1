"""``/v1/watch``: for readers of many owners at once, so without an owner in the header."""

from litestar import Response, post
from litestar.params import JSONBody

from bobbin_protocol.store.watch import Watch, Watched
from bobbin_store import watch
from bobbin_store.http.exchange import AnyRequest, Body, answer, database_of


@post("/watch", dto=Body, return_dto=None, status_code=200)
async def look(request: AnyRequest, data: JSONBody[Watch]) -> Response[Watched]:
    """Say what happened to turns and in threads since the caller last asked."""
    return answer(request, await watch.look(database_of(request), data))


ROUTES = [look]
