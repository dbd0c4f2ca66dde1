"""Threads as clients see them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from bobbin_protocol.threads import LockedStatus, ThreadMetadata, thread_for_client
from bobbin_protocol.wire import encode_json


def test_clients_see_a_thread_without_its_metadata_and_without_items() -> None:
    thread = ThreadMetadata(
        id="t1",
        title="Greetings",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        status=LockedStatus(reason="moved"),
        allowed_image_domains=["x.org"],
        metadata={"tenant": "secret"},
    )
    assert json.loads(encode_json(thread_for_client(thread))) == {
        "id": "t1",
        "title": "Greetings",
        "created_at": "2026-01-02T00:00:00Z",
        "status": {"type": "locked", "reason": "moved"},
        "allowed_image_domains": ["x.org"],
        "metadata": {},
        "items": {"data": [], "has_more": False},
    }
