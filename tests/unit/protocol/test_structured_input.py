"""Answers to questions, as the reference records them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import chatkit.types as reference
import msgspec
import pytest
from chatkit.server import ChatKitServer
from hypothesis import given
from hypothesis import strategies as st

from bobbin_protocol.items import StructuredInputItem
from bobbin_protocol.structured_input import (
    StructuredInput,
    StructuredInputFreeform,
    StructuredInputMultipleChoice,
    StructuredInputSubmission,
    answers_to,
)

ids = st.sampled_from(["a", "b", "c", "d"])
questions = st.lists(
    st.one_of(
        st.builds(
            StructuredInputMultipleChoice,
            id=ids,
            question=st.just("?"),
            options=st.just([]),
            multiple=st.booleans(),
        ),
        st.builds(StructuredInputFreeform, id=ids, question=st.just("?")),
    ),
    max_size=4,
)
answers = st.fixed_dictionaries(
    {}, optional={"values": st.lists(st.sampled_from(["", "x", "y\0"]), max_size=3), "skipped": st.booleans()}
)
submissions = st.fixed_dictionaries(
    {},
    optional={"status": st.sampled_from(["answered", "skipped"]), "answers": st.dictionaries(ids, answers)},
)


class Server(ChatKitServer[None]):
    """The reference's server, for its way to record answers."""

    def __init__(self) -> None:
        """Without a store."""

    def respond(self, *_: Any) -> Any:
        raise NotImplementedError

    async def recorded(self, item: dict[str, Any], submission: dict[str, Any]) -> dict[str, Any]:
        done = await self._apply_structured_input_submission(
            reference.StructuredInputItem.model_validate(item),
            reference.StructuredInputSubmission.model_validate(submission),
        )
        return done.model_dump(mode="json", exclude_none=True)


@given(questions, submissions)
async def test_answers_are_recorded_as_the_reference_records_them(
    asked: list[StructuredInput], submission: dict[str, Any]
) -> None:
    item = StructuredInputItem(
        id="i", thread_id="t", created_at=datetime(2026, 1, 1, tzinfo=UTC), inputs=asked
    )
    theirs = await Server().recorded(msgspec.to_builtins(item), submission)
    ours = answers_to(asked, msgspec.convert(submission, StructuredInputSubmission))
    assert [question["answer"] for question in theirs["inputs"]] == msgspec.to_builtins(ours)
    assert theirs["status"] == submission.get("status", "answered")


@pytest.mark.parametrize("skipped", [True, False])
def test_an_answer_belongs_to_its_question_whatever_the_order(skipped: bool) -> None:
    asked: list[StructuredInput] = [StructuredInputFreeform(id=one, question="?") for one in "ab"]
    submission = {"answers": {"b": {"values": ["B"]}, "x": {"values": ["X"]}, "a": {"values": ["A"]}}}
    if skipped:
        submission["status"] = "skipped"  # pyright: ignore[reportArgumentType]
    recorded = answers_to(asked, msgspec.convert(submission, StructuredInputSubmission))
    assert [one.values for one in recorded] == ([[], []] if skipped else [["A"], ["B"]])
    assert [one.skipped for one in recorded] == [skipped, skipped]
