"""JSON requests: each one is one call to the store and one document back."""

from __future__ import annotations

from typing import assert_never

from bobbin_gateway.gateway import Gateway
from bobbin_gateway.http import agent_calls
from bobbin_gateway.turns.standing import Standing, StandingItems
from bobbin_protocol.attachments import without_metadata
from bobbin_protocol.items import StoredItem, for_client
from bobbin_protocol.pages import Page
from bobbin_protocol.requests import (
    AttachmentsCreateReq,
    AttachmentsDeleteReq,
    InputTranscribeReq,
    ItemsFeedbackReq,
    ItemsListParams,
    ItemsListReq,
    NonStreamingReq,
    ThreadsDeleteReq,
    ThreadsGetByIdReq,
    ThreadsListReq,
    ThreadsSyncCustomActionReq,
    ThreadsUpdateReq,
)
from bobbin_protocol.store.threads import ThreadChange
from bobbin_protocol.threads import ThreadMetadata, thread_for_client
from bobbin_protocol.wire import encode_json

_EMPTY = b"{}"


class _ThreadAnswer(ThreadMetadata):
    """A `Thread` whose items are as the store keeps them, with fields that this version may not know."""

    items: Page[StoredItem]


async def answer(
    gateway: Gateway, owner_id: str, request: NonStreamingReq, *, locale: str | None, base_url: str
) -> bytes:
    """The answer's body; `base_url` is where the client reaches us.

    Raises:
        InvalidRequest: This server has no such ability, or the request cannot be meant.
        AgentError: The agent cannot do it.
        StoreRefused: No such thread, item or cursor.
        StoreUnavailable: The store cannot be reached.
    """
    store = gateway.store
    match request:
        case ThreadsGetByIdReq(params=params):
            standing = StandingItems(gateway.engine.turns, store, owner_id, params.thread_id)
            found = await store.get_thread(owner_id, params.thread_id)
            page = _behind(found.items, await standing.read(found.items.running_turn_id))
            return encode_json(_with_items(found.thread, page))
        case ThreadsListReq(params=params):
            threads = await store.list_threads(owner_id, params.limit, params.order, params.after)
            data = [thread_for_client(thread) for thread in threads.data]
            return encode_json(Page(data=data, has_more=threads.has_more, after=threads.after))
        case ItemsListReq(params=params):
            return encode_json(_items_for_client(await _items(gateway, owner_id, params)))
        case ThreadsUpdateReq(params=params):
            changed = await store.change_thread(owner_id, params.thread_id, ThreadChange(title=params.title))
            gateway.engine.rename(owner_id, params.thread_id, params.title)
            return encode_json(thread_for_client(changed))
        case ThreadsDeleteReq(params=params):
            await gateway.engine.interrupt_thread(owner_id, params.thread_id)
            await store.delete_thread(owner_id, params.thread_id)
            gateway.engine.watcher.hurry(owner_id)
            gateway.sweeper.hurry()
            return _EMPTY
        case ItemsFeedbackReq(params=params):
            await agent_calls.note_feedback(gateway, owner_id, params)
            return _EMPTY
        case AttachmentsDeleteReq(params=params):
            await store.delete_attachment(owner_id, params.attachment_id)
            gateway.sweeper.hurry()
            return _EMPTY
        case AttachmentsCreateReq(params=params):
            created = await gateway.attachments.create(owner_id, params, base_url)
            return encode_json(without_metadata(created))
        case InputTranscribeReq(params=params):
            return encode_json(await agent_calls.transcribe(gateway, owner_id, params))
        case ThreadsSyncCustomActionReq(params=params):
            return encode_json(await agent_calls.sync_action(gateway, owner_id, params, locale))
        case _:
            assert_never(request)


async def _items(gateway: Gateway, owner_id: str, params: ItemsListParams) -> Page[StoredItem]:
    standing = StandingItems(gateway.engine.turns, gateway.store, owner_id, params.thread_id)
    page = await gateway.store.list_items(
        owner_id, params.thread_id, params.limit, params.order, params.after
    )
    if params.order == "asc":
        return _behind(page, await standing.read(page.running_turn_id))
    return _before(page, await standing.read(page.running_turn_id), first=params.after is None)


def _behind(page: Page[StoredItem], standing: Standing) -> Page[StoredItem]:
    """The page with the items of a running turn, which come last: it may be longer than asked for."""
    known = {item["id"] for item in page.data}
    new = [] if page.has_more else [item for item in standing.made if item["id"] not in known]
    return Page(data=[*_replaced(page, standing), *new], has_more=page.has_more, after=page.after)


def _before(page: Page[StoredItem], standing: Standing, *, first: bool) -> Page[StoredItem]:
    """The same for the newest first."""
    known = {item["id"] for item in page.data}
    new = [item for item in reversed(standing.made) if first and item["id"] not in known]
    return Page(data=[*new, *_replaced(page, standing)], has_more=page.has_more, after=page.after)


def _replaced(page: Page[StoredItem], standing: Standing) -> list[StoredItem]:
    return [standing.replaced.get(item["id"], item) for item in page.data]


def _with_items(thread: ThreadMetadata, items: Page[StoredItem]) -> _ThreadAnswer:
    return _ThreadAnswer(
        id=thread.id,
        title=thread.title,
        created_at=thread.created_at,
        status=thread.status,
        allowed_image_domains=thread.allowed_image_domains,
        items=_items_for_client(items),
    )


def _items_for_client(items: Page[StoredItem]) -> Page[StoredItem]:
    return Page(data=[for_client(item) for item in items.data], has_more=items.has_more, after=items.after)
