"""What an agent can say and show."""

from __future__ import annotations

from bobbin_gateway import replies
from bobbin_protocol.events import ClientEffectEvent, NoticeEvent, ProgressUpdateEvent


def test_what_is_not_kept_is_an_event_of_its_own() -> None:
    assert replies.progress("Reading", "bolt") == ProgressUpdateEvent(text="Reading", icon="bolt")
    assert replies.notice("**Careful**", level="warning") == NoticeEvent(
        level="warning", message="**Careful**"
    )
    assert replies.effect("highlight", id=3) == ClientEffectEvent(name="highlight", data={"id": 3})
