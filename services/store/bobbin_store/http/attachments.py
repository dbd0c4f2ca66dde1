"""``/v1/attachments``."""

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from bobbin_protocol.attachments import Attachment
from bobbin_store import attachments
from bobbin_store.http.exchange import AnyRequest, Body, Owner, PathId, answer, database_of


@post("/attachments", dto=Body, return_dto=None)
async def create_attachment(
    request: AnyRequest, owner: Owner, data: JSONBody[Attachment]
) -> Response[Attachment]:
    """Keep what is known about a file."""
    return answer(request, await attachments.create(database_of(request), owner, data), status=201)


@put("/attachments/{attachment_id:str}", dto=Body, return_dto=None)
async def put_attachment(
    request: AnyRequest, owner: Owner, attachment_id: PathId, data: JSONBody[Attachment]
) -> Response[Attachment]:
    """Keep what is known about a file, in place of what was known before."""
    return answer(request, await attachments.put(database_of(request), owner, attachment_id, data))


@get("/attachments/{attachment_id:str}")
async def get_attachment(request: AnyRequest, owner: Owner, attachment_id: PathId) -> Response[Attachment]:
    """Say what is known about a file."""
    return answer(request, await attachments.get(database_of(request), owner, attachment_id))


@post("/attachments/{attachment_id:str}/complete", status_code=200)
async def complete_attachment(
    request: AnyRequest, owner: Owner, attachment_id: PathId
) -> Response[Attachment]:
    """Note that a file's bytes have come."""
    return answer(request, await attachments.complete(database_of(request), owner, attachment_id))


@delete("/attachments/{attachment_id:str}")
async def delete_attachment(request: AnyRequest, owner: Owner, attachment_id: PathId) -> None:
    """Forget a file."""
    await attachments.delete(database_of(request), owner, attachment_id)


ROUTES = [create_attachment, put_attachment, get_attachment, complete_attachment, delete_attachment]
