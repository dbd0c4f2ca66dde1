"""``/v1/owner``: all data of the owner named in the header."""

from collections.abc import AsyncGenerator

from litestar import Response, delete, get
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from bobbin_protocol.store.owners import Erased
from bobbin_store import owners
from bobbin_store.http.exchange import AnyRequest, Owner, answer, database_of

NDJSON = "application/x-ndjson"


class Lines(ASGIStreamingResponse):
    """Chunks sent as they come; whoever goes away gives the database connection back at once."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._first = first
        self._rest = rest
        super().__init__(  # pyright: ignore[reportUnknownMemberType] (Litestar leaves a type argument out)
            iterator=self._chunks(), media_type=NDJSON
        )

    async def _chunks(self) -> AsyncGenerator[bytes]:
        yield self._first
        async for chunk in self._rest:
            yield chunk

    async def send_body(self, send: Send, receive: Receive) -> None:
        try:
            await super().send_body(send, receive)
        finally:
            await self._rest.aclose()


@get("/owner/export", media_type=NDJSON)
async def export_owner(request: AnyRequest, owner: Owner) -> Lines:
    """Give everything of the owner as JSON lines: threads with what is in them, then attachments."""
    chunks = owners.export(database_of(request), owner)
    # The first chunk comes before the answer begins: a database that is away is still a 503.
    return Lines(await anext(chunks), chunks)


@delete("/owner", status_code=200)
async def erase_owner(request: AnyRequest, owner: Owner) -> Response[Erased]:
    """Delete everything of the owner."""
    return answer(request, await owners.erase(database_of(request), owner))


ROUTES = [export_owner, erase_owner]
