"""Structured input: questions the assistant puts to the user (reference: ``types.py``)."""

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
