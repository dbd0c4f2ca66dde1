"""``/v1/threads``."""

from litestar import Response, delete, get, patch, post
from litestar.params import JSONBody

from bobbin_protocol.pages import Page
from bobbin_protocol.store.threads import NewThread, ThreadChange, ThreadWithItems
from bobbin_protocol.threads import ThreadMetadata
from bobbin_store import items, threads
from bobbin_store.http.exchange import (
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


@post("/threads", dto=Body, return_dto=None)
async def create_thread(
    request: AnyRequest, owner: Owner, data: JSONBody[NewThread]
) -> Response[ThreadMetadata]:
    """Make a thread."""
    return answer(request, await threads.create(database_of(request), owner, data), status=201)


@get("/threads")
async def list_threads(
    request: AnyRequest, owner: Owner, limit: Limit = 0, order: PageOrder = "desc", after: Cursor = None
) -> Response[Page[ThreadMetadata]]:
    """List threads by the time they were made."""
    return answer(request, await threads.page(database_of(request), owner, PageRequest(limit, order, after)))


@get("/threads/{thread_id:str}")
async def get_thread(
    request: AnyRequest, owner: Owner, thread_id: PathId, limit: Limit = 0, *, hidden: Hidden = False
) -> Response[ThreadWithItems]:
    """Give a thread and the first page of its items, oldest first."""
    async with database_of(request).session(owner) as session:
        thread = await threads.get(session, owner, thread_id)
        page = await items.page(session, owner, thread_id, PageRequest(limit, "asc"), hidden=hidden)
    return answer(request, ThreadWithItems(thread=thread, items=page))


@patch("/threads/{thread_id:str}", dto=Body, return_dto=None)
async def change_thread(
    request: AnyRequest, owner: Owner, thread_id: PathId, data: JSONBody[ThreadChange]
) -> Response[ThreadMetadata]:
    """Change the fields that are given; a null title is removed."""
    return answer(request, await threads.change(database_of(request), owner, thread_id, data))


@delete("/threads/{thread_id:str}")
async def delete_thread(request: AnyRequest, owner: Owner, thread_id: PathId) -> None:
    """Delete a thread and everything in it."""
    await threads.delete(database_of(request), owner, thread_id)


ROUTES = [create_thread, list_threads, get_thread, change_thread, delete_thread]
