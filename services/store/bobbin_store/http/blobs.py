"""``/v1/blobs``: for attachments of many owners at once, so without an owner in the header."""

from litestar import Response, post
from litestar.params import JSONBody

from bobbin_protocol.store.blobs import BlobsToRemove, SweepBlobs
from bobbin_store import blobs
from bobbin_store.http.exchange import AnyRequest, Body, answer, database_of


@post("/blobs/sweep", dto=Body, return_dto=None, status_code=200)
async def sweep_blobs(request: AnyRequest, data: JSONBody[SweepBlobs]) -> Response[BlobsToRemove]:
    """Confirm which blobs are gone, and learn which are to go."""
    return answer(request, await blobs.sweep(database_of(request), data))


ROUTES = [sweep_blobs]
