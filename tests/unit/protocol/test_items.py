from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from bobbin_protocol.items import (
    HIDDEN_ITEM_TYPES,
    EndOfTurnItem,
    HiddenItem,
    StoredItem,
    ThreadItem,
    for_client,
    thread_item_of,
)
from bobbin_protocol.wire import encode_json

ITEM: StoredItem = {"id": "msg_1", "thread_id": "thr_1", "created_at": "2024-01-01T00:00:00Z"}


def test_clients_get_an_item_without_the_metadata_of_its_attachments_and_with_all_else() -> None:
    item = {
        **ITEM,
        "type": "user_message",
        "attachments": [{"id": "atc_1", "metadata": {"path": "/x"}, "new": 1}, {"id": "atc_2"}],
        "metadata": {"of": "a later version"},
    }
    assert for_client(item) == {**item, "attachments": [{"id": "atc_1", "new": 1}, {"id": "atc_2"}]}
    assert item["attachments"][0]["metadata"] == {"path": "/x"}


@pytest.mark.parametrize("item", [{**ITEM, "type": "end_of_turn"}, {**ITEM, "type": "user_message"}])
def test_an_item_with_nothing_to_hide_is_given_as_it_is(item: StoredItem) -> None:
    assert for_client(item) is item


def test_the_hidden_types_are_those_of_the_hidden_items() -> None:
    kinds = HiddenItem.__args__  # type: ignore[attr-defined]  # a union at run time
    assert {kind.__struct_config__.tag for kind in kinds} == HIDDEN_ITEM_TYPES


@pytest.mark.parametrize("sent", ["2024-01-01T00:00:00", "2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00Z"])
def test_times_leave_in_utc_however_they_came(sent: str) -> None:
    item = msgspec.convert({**ITEM, "type": "end_of_turn", "created_at": sent}, ThreadItem)
    assert item == EndOfTurnItem(id="msg_1", thread_id="thr_1", created_at=datetime(2024, 1, 1, tzinfo=UTC))
    assert b'"created_at":"2024-01-01T00:00:00Z"' in encode_json(item)


def test_an_impossible_time_is_named() -> None:
    item = {**ITEM, "type": "end_of_turn", "created_at": "0001-01-01T00:00:00+02:00"}
    with pytest.raises(msgspec.ValidationError, match="Time out of range"):
        msgspec.convert(item, ThreadItem)


@pytest.mark.parametrize(
    "item",
    [
        {**ITEM, "type": "end_of_turn"},
        {**ITEM, "type": "assistant_message", "content": [{"type": "output_text", "text": "Hi"}]},
        {**ITEM, "type": "assistant_message", "content": 5},
        {**ITEM, "type": "of a later version"},
        {**ITEM, "type": ["end_of_turn"]},
        ITEM,
    ],
)
def test_an_item_is_typed_or_refused_just_as_by_the_union_of_all_types(item: StoredItem) -> None:
    def outcome_of(convert: Callable[[StoredItem], ThreadItem]) -> ThreadItem | str:
        try:
            return convert(item)
        except msgspec.ValidationError as refusal:
            return str(refusal)

    assert outcome_of(thread_item_of) == outcome_of(lambda item: msgspec.convert(item, ThreadItem))
