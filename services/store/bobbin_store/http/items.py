"""``/v1/threads/{thread_id}/items``."""

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from bobbin_protocol.items import StoredItem
from bobbin_protocol.store.items import ItemsCut
from bobbin_protocol.store.threads import ItemPage
from bobbin_store import items
from bobbin_store.http.exchange import (
    ID_PATTERN,
    AnyRequest,
    Body,
    Cursor,
    Hidden,
    Limit,
    Owner,
    PageOrder,
    PathId,
    answer,
    database_of,
)
from bobbin_store.pages import PageRequest


@post("/threads/{thread_id:str}/items", dto=Body, return_dto=None)
async def add_item(
    request: AnyRequest, owner: Owner, thread_id: PathId, data: JSONBody[StoredItem]
) -> Response[StoredItem]:
    """Append an item to a thread."""
    return answer(request, await items.add(database_of(request), owner, thread_id, data), status=201)


@put("/threads/{thread_id:str}/items/{item_id:str}", dto=Body, return_dto=None)
async def put_item(
    request: AnyRequest, owner: Owner, thread_id: PathId, item_id: PathId, data: JSONBody[StoredItem]
) -> Response[StoredItem]:
    """Replace an item where it stands, or append it."""
    return answer(request, await items.put(database_of(request), owner, thread_id, item_id, data))


@get("/threads/{thread_id:str}/items")
async def list_items(
    request: AnyRequest,
    owner: Owner,
    thread_id: PathId,
    limit: Limit = 0,
    order: PageOrder = "desc",
    after: Cursor = None,
    *,
    hidden: Hidden = False,
) -> Response[ItemPage]:
    """List the items of a thread in the order they were added; hidden ones only if asked for."""
    async with database_of(request).session(owner) as session:
        page = await items.page(session, owner, thread_id, PageRequest(limit, order, after), hidden=hidden)
    return answer(request, page)


@get("/threads/{thread_id:str}/items/{item_id:str}")
async def get_item(
    request: AnyRequest, owner: Owner, thread_id: PathId, item_id: PathId
) -> Response[StoredItem]:
    """Give an item, hidden or not."""
    return answer(request, await items.get(database_of(request), owner, thread_id, item_id))


@delete("/threads/{thread_id:str}/items/{item_id:str}")
async def delete_item(request: AnyRequest, owner: Owner, thread_id: PathId, item_id: PathId) -> None:
    """Delete an item and the feedback on it."""
    await items.delete(database_of(request), owner, thread_id, item_id)


@delete("/threads/{thread_id:str}/items", status_code=200)
async def cut_items(
    request: AnyRequest,
    owner: Owner,
    thread_id: PathId,
    after: Annotated[
        str,
        QueryParameter(
            min_length=1, max_length=128, pattern=ID_PATTERN, description="The last item to keep."
        ),
    ],
) -> Response[ItemsCut]:
    """Delete every item after this one, hidden ones too."""
    removed = await items.cut_after(database_of(request), owner, thread_id, after)
    return answer(request, ItemsCut(item_ids=removed))


ROUTES = [add_item, put_item, list_items, get_item, delete_item, cut_items]
