"""A message in the making: its parts, and the annotations at their places."""

from __future__ import annotations

from bobbin_gateway.openai_agent.messages import Message
from bobbin_protocol.events import ThreadStreamEvent
from bobbin_protocol.items import Annotation, AssistantMessageItem
from bobbin_protocol.sources import URLSource
from tests.unit.gateway.openai_agent.samples import Heard, turn


def cited(index: int | None, url: str = "https://a.example/") -> Annotation:
    return Annotation(source=URLSource(url=url, title="A"), index=index)


def heard(*events: list[ThreadStreamEvent]) -> AssistantMessageItem:
    whole = Heard()
    whole.events = [event for some in events for event in some]
    [item] = whole.items
    assert isinstance(item, AssistantMessageItem)
    return item


def test_annotations_stand_in_the_part_and_in_the_item() -> None:
    message = Message.new(turn())
    events = message.say(0, "Hello") + message.annotate(0, cited(5))
    assert heard(events).content[0].annotations == [cited(5)]
    closing = message.close()
    assert heard(events, closing[:1]).content[0].annotations == [cited(5)]
    assert heard(events, closing).content[0].annotations == [cited(5)]


def test_an_annotation_never_lies_beyond_the_text() -> None:
    message = Message.new(turn())
    events = message.say(0, "Hello") + message.annotate(0, cited(99)) + message.annotate(0, cited(-3))
    assert [one.index for one in heard(events).content[0].annotations] == [5, 0]


def test_the_same_annotation_counts_once() -> None:
    message = Message.new(turn())
    events = message.say(0, "Hello") + message.annotate(0, cited(3)) + message.annotate(0, cited(3))
    assert heard(events).content[0].annotations == [cited(3)]


def test_the_text_of_an_annotation_is_there_or_still_to_come() -> None:
    message = Message.new(turn())
    assert not message.reaches(0, cited(None))
    message.say(0, "Hello")
    assert message.reaches(0, cited(5))
    assert message.reaches(0, cited(None))
    assert not message.reaches(0, cited(6))


def test_a_closed_part_that_is_annotated_is_given_again_in_its_final_form() -> None:
    message = Message.new(turn())
    events = message.say(0, "Hello") + message.close_part(0)
    assert message.close_part(0) == []
    events += message.annotate(0, cited(5)) + message.close_part(0)
    assert heard(events).content[0].annotations == [cited(5)]


def test_a_message_goes_on_elsewhere_with_its_annotations() -> None:
    message = Message.new(turn())
    events = message.say(2, "Hello") + message.annotate(2, cited(5)) + message.close_part(2)
    item = heard(events)
    restored = Message.restored(item, message.state(0).parts)
    assert restored.state(0) == message.state(0)
    rest = restored.say(2, " you") + restored.annotate(2, cited(5)) + restored.close()
    assert heard(events, rest).content == heard(events, message.say(2, " you"), message.close()).content
