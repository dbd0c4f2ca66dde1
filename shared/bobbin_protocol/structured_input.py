"""Structured input: questions the assistant puts to the user (reference: ``types.py``)."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from bobbin_protocol.wire import Wire, always


class StructuredInputAnswer(Wire):
    """An answer as recorded in the item."""

    values: list[str] = always(list)
    skipped: bool = always(default=False)


class StructuredInputBase(Wire):
    id: str
    """Unique within the item."""
    question: str
    answer: StructuredInputAnswer | None = None
    """Absent until the user has answered or skipped."""


class StructuredInputMultipleChoiceOption(Wire):
    value: str
    """The text shown, and sent when chosen."""


class StructuredInputMultipleChoice(StructuredInputBase, tag="multiple_choice"):
    options: list[StructuredInputMultipleChoiceOption]
    """Suggestions; the user may always write an answer instead."""
    multiple: bool = always(default=False)
    """Whether more than one value may be sent."""


class StructuredInputFreeform(StructuredInputBase, tag="freeform"):
    description: str | None = None


StructuredInput: TypeAlias = StructuredInputMultipleChoice | StructuredInputFreeform


class StructuredInputAnswerSubmission(Wire):
    """An answer as the client submits it."""

    values: list[str] = always(list)
    skipped: bool = always(default=False)


class StructuredInputSubmission(Wire):
    """The answers to one item, by the id of the question. A question left out counts as skipped."""

    status: Literal["answered", "skipped"] = always("answered")
    answers: dict[str, StructuredInputAnswerSubmission] = always(dict)


def answers_to(
    questions: Iterable[StructuredInput], submission: StructuredInputSubmission
) -> list[StructuredInputAnswer]:
    """Give the answer to each question as it is recorded, in the order of the questions.

    A question without an answer, or without a value in it, is skipped, and so are all if the submission is.
    One that takes a single choice keeps the first value. Answers to unknown questions are left out.
    (Reference: ``server.py``, ``_apply_structured_input_submission``.)
    """
    return [_answer_to(question, submission) for question in questions]


def _answer_to(question: StructuredInput, submission: StructuredInputSubmission) -> StructuredInputAnswer:
    answer = submission.answers.get(question.id)
    if submission.status == "skipped" or answer is None or answer.skipped or not answer.values:
        return StructuredInputAnswer(skipped=True)
    if isinstance(question, StructuredInputMultipleChoice) and not question.multiple:
        return StructuredInputAnswer(values=answer.values[:1])
    return StructuredInputAnswer(values=answer.values)
