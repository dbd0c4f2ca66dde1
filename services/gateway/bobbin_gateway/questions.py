"""Questions to the user (structured input), for `replies.questions`, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable

from bobbin_protocol.items import StructuredInputItem
from bobbin_protocol.structured_input import (
    StructuredInputFreeform,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
)


def choice(
    question_id: str, question: str, options: Iterable[str], *, multiple: bool = False
) -> StructuredInputMultipleChoice:
    """A question with answers to choose from. The user may always write another one.

    Args:
        question_id: Its own among the questions asked together.
        question: What is asked.
        options: The answers on offer, as they are shown and come back.
        multiple: Whether several may be chosen.
    """
    return StructuredInputMultipleChoice(
        id=question_id,
        question=question,
        options=[StructuredInputMultipleChoiceOption(value=option) for option in options],
        multiple=multiple,
    )


def freeform(question_id: str, question: str, description: str | None = None) -> StructuredInputFreeform:
    """A question that is answered in the user's own words.

    Args:
        question_id: Its own among the questions asked together.
        question: What is asked.
        description: More about it.
    """
    return StructuredInputFreeform(id=question_id, question=question, description=description)


def answers(item: StructuredInputItem) -> dict[str, list[str]]:
    """What the user said, by the question's id; questions that were skipped, or still wait, are not in it."""
    return {
        question.id: question.answer.values
        for question in item.inputs
        if question.answer is not None and not question.answer.skipped
    }
