"""Items: ``/v1/threads/{thread_id}/items``. They travel as ``bobbin_protocol.items.StoredItem``."""

from __future__ import annotations

from bobbin_protocol.wire import Wire, always


class ItemsCut(Wire):
    """``DELETE /v1/threads/{thread_id}/items?after=<item_id>``: what was removed, in its order."""

    item_ids: list[str] = always(list)
