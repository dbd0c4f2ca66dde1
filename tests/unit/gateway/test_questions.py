"""Questions are made in a line, and their answers are read in one."""

from __future__ import annotations

from datetime import UTC, datetime

from bobbin_gateway import questions
from bobbin_protocol.items import StructuredInputItem
from bobbin_protocol.structured_input import StructuredInputAnswer
from bobbin_protocol.wire import encode_json


def test_a_choice_offers_answers() -> None:
    size = questions.choice("size", "Which size?", ["S", "M"])
    assert encode_json(size) == (
        b'{"type":"multiple_choice","id":"size","question":"Which size?",'
        b'"options":[{"value":"S"},{"value":"M"}],"multiple":false}'
    )
    assert questions.choice("size", "Which sizes?", ["S", "M"], multiple=True).multiple


def test_a_freeform_question_may_say_more() -> None:
    assert encode_json(questions.freeform("note", "Anything else?", "Allergies, say")) == (
        b'{"type":"freeform","id":"note","question":"Anything else?","description":"Allergies, say"}'
    )


def test_the_answers_are_those_that_were_given() -> None:
    size = questions.choice("size", "Which size?", ["S", "M"])
    note = questions.freeform("note", "Anything else?")
    extra = questions.freeform("extra", "And?")
    size.answer = StructuredInputAnswer(values=["M"])
    note.answer = StructuredInputAnswer(skipped=True)
    item = StructuredInputItem(
        id="m", thread_id="t", created_at=datetime.now(UTC), inputs=[size, note, extra]
    )
    assert questions.answers(item) == {"size": ["M"]}
