"""What is read of a response on one connection, or in one process, goes on in another."""

from __future__ import annotations

import msgspec
import pytest

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.resumable import (
    Checkpoint,
    ResumableReader,
    decode_checkpoint,
    first_event,
)
from bobbin_gateway.openai_agent.stream import ModelStream
from bobbin_protocol.sse import SSEParser
from bobbin_protocol.store.turns import Usage
from tests.recordings import ALL, Recording
from tests.unit.gateway.openai_agent.recordings_full import plain_item
from tests.unit.gateway.openai_agent.samples import Heard, completed, delta, sse, turn

MOST_CUTS = 40
"""Per recording, spread evenly over its events."""


def events_of(recording: Recording) -> list[bytes]:
    parser = SSEParser()
    return [event.data for event in [*parser.feed(recording.data), *parser.finish()] if event.data]


def hear(reader: ResumableReader, events: list[bytes], heard: Heard) -> None:
    """Read the rest of a response, to the end."""
    stream = ModelStream(reader.answer, reader)
    try:
        for data in events:
            for said in stream.feed(b"data: " + data + b"\n\n"):
                heard.events += said
        heard.events += stream.finish()
    except AgentError as failure:
        heard.failure = failure


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("recording", [one for one in ALL if one.dialect == "responses"], ids=str)
def test_every_recorded_response_goes_on_from_any_event(recording: Recording) -> None:
    """The client hears the same, whichever event the first process died after."""
    events = events_of(recording)
    whole, all_of_it = Heard(), ResumableReader(Answer(turn(), str))
    hear(all_of_it, events, whole)
    reader, heard = ResumableReader(Answer(turn(), str)), Heard()
    for place, data in enumerate(events[:-1]):
        try:
            heard.events += reader.read(data)
        except AgentError:
            break
        if reader.answer.over:
            break
        if place % max(1, len(events) // MOST_CUTS):
            continue
        taken = Checkpoint("resp_1", place, reader.answer.state())
        checkpoint = decode_checkpoint(msgspec.msgpack.encode(taken))
        resumed = Heard()
        resumed.events = list(heard.events)
        rest = ResumableReader.restored(turn(), heard.items, checkpoint, str)
        hear(rest, events[place + 1 :], resumed)
        assert resumed.kinds == whole.kinds
        assert [plain_item(item) for item in resumed.items] == [plain_item(item) for item in whole.items]
        assert rest.answer.calls == all_of_it.answer.calls
        assert rest.answer.usage == all_of_it.answer.usage
        assert rest.answer.has_images == all_of_it.answer.has_images
        assert str(resumed.failure) == str(whole.failure)


def test_what_waits_for_its_text_or_its_end_goes_on_too() -> None:
    """Things that the recordings do not have at any event: annotations ahead of text, two images, a round."""
    cited = {"type": "file_citation", "filename": "a.txt", "index": 4}
    image = {"type": "image_generation_call"}
    place = {"partial_image_index": 1, "partial_image_b64": "UklGR"}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": {"tools": [{"partial_images": 4}]}},
        {"type": "response.output_text.annotation.added", "output_index": 3, "annotation": cited},
        delta("Hel", output=3),
        {"type": "response.output_item.added", "output_index": 4, "item": image},
        {"type": "response.output_item.added", "output_index": 5, "item": image},
        {"type": "response.image_generation_call.partial_image", "output_index": 4, **place},
        {"type": "response.code_interpreter_call_code.delta", "output_index": 6, "delta": "print("},
        {"type": "response.code_interpreter_call_code.delta", "output_index": 6, "delta": "1"},
        {"type": "response.code_interpreter_call_code.delta", "output_index": 6, "delta": ")"},
        delta("lo", output=3),
        {"type": "response.output_item.done", "output_index": 5, "item": {**image, "result": "R0lGOD"}},
        completed(usage={"input_tokens": 3, "output_tokens": 2}),
    ]
    data = [msgspec.json.encode(event) for event in events]
    answers: list[tuple[object, ...]] = []
    for cut in range(len(data)):
        answer, heard = Answer(turn(), str), Heard()
        answer.count(5, 5)
        answer.next_round()
        reader = ResumableReader(answer)
        for one in data[:cut]:
            heard.events += reader.read(one)
        taken = msgspec.msgpack.encode(Checkpoint("resp_1", cut, answer.state()))
        rest = ResumableReader.restored(turn(), heard.items, decode_checkpoint(taken), str)
        hear(rest, data[cut:], heard)
        items = [plain_item(item) for item in heard.items]
        answers.append((items, heard.kinds, rest.answer.usage, rest.answer.has_images))
    assert answers == [answers[0]] * len(answers)
    assert answers[0][2] == Usage(input_tokens=8, output_tokens=7)


def test_a_checkpoint_of_the_version_before_can_be_read() -> None:
    old = msgspec.msgpack.encode(["resp_1", 3, [True, False, []]])
    assert decode_checkpoint(old).answer.said_something


def numbered(number: int, text: str) -> bytes:
    return msgspec.json.encode({**delta(text), "sequence_number": number})


def created(**response: object) -> bytes:
    return msgspec.json.encode(
        {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", **response}}
    )


def test_what_was_read_is_not_heard_twice() -> None:
    """Should a provider send more than it was asked for on a new connection."""
    reader, heard = ResumableReader(Answer(turn())), Heard()
    for data in (created(), numbered(1, "a"), numbered(2, "b")):
        heard.events += reader.read(data)
    reader.skip_to_position()
    for data in (created(), numbered(1, "a"), numbered(2, "b"), numbered(3, "c")):
        heard.events += reader.read(data)
    assert heard.deltas == "abc"
    assert reader.position == 3


def test_the_event_that_ends_an_answer_is_never_behind_a_checkpoint() -> None:
    """Else a resumed answer would wait for an end that has been."""
    reader = ResumableReader(Answer(turn()))
    reader.read(created())
    reader.read(numbered(1, "a"))
    assert reader.checkpoint() is not None
    reader.read(msgspec.json.encode({**completed(), "sequence_number": 2}))
    assert reader.checkpoint() is None


@pytest.mark.parametrize(
    "events",
    [
        [numbered(1, "a")],
        [created(background=False), numbered(1, "a")],
        [b'{"type":"response.created","response":{"id":"resp_1"}}'],
    ],
    ids=["no name", "no background mode", "no numbers"],
)
def test_without_a_way_back_there_is_no_checkpoint(events: list[bytes]) -> None:
    reader = ResumableReader(Answer(turn()))
    for data in events:
        reader.read(data)
    assert reader.checkpoint() is None
    assert not reader.can_resume


def test_the_first_event_names_the_response() -> None:
    """Keep-alives come before it when the provider is busy."""
    alive = sse({"type": "keepalive", "sequence_number": 0})
    assert first_event(b"") is None
    assert first_event(alive) is None
    assert first_event(alive + b"data: " + created()) is None
    named = first_event(alive + b"data: " + created() + b"\n\n" + b"data: ")
    assert named is not None
    assert named.response_id == "resp_1"
    garbled = first_event(b"data: oh no\n\n")
    assert garbled is not None
    assert garbled.response_id is None
