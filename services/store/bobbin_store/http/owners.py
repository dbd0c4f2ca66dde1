"""``/v1/owner``: all data of the owner named in the header."""

from collections.abc import AsyncGenerator

from litestar import Response, delete, get
from litestar.response import Stream

from bobbin_protocol.store.owners import Erased
from bobbin_store import owners
from bobbin_store.http.exchange import AnyRequest, Owner, answer, database_of

NDJSON = "application/x-ndjson"


@get("/owner/export", media_type=NDJSON)
async def export_owner(request: AnyRequest, owner: Owner) -> Stream:
    """Give everything of the owner as JSON lines: threads with what is in them, then attachments."""
    chunks = owners.export(database_of(request), owner)
    # The first chunk comes before the answer begins: a database that is away is still a 503.
    first = await anext(chunks)
    return Stream(_with_first(first, chunks), media_type=NDJSON)


async def _with_first(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


@delete("/owner", status_code=200)
async def erase_owner(request: AnyRequest, owner: Owner) -> Response[Erased]:
    """Delete everything of the owner."""
    return answer(request, await owners.erase(database_of(request), owner))


ROUTES = [export_owner, erase_owner]
