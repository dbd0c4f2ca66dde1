"""Tasks and workflows: the steps of an answer as shown (reference: ``types.py``, "TASK TYPES")."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from bobbin_protocol.icons import IconName
from bobbin_protocol.sources import FileSource, URLSource
from bobbin_protocol.wire import Wire, always


class BaseTask(Wire):
    status_indicator: Literal["none", "loading", "complete"] = always("none")
    """Drawn only where the task is part of a workflow."""


class CustomTask(BaseTask, tag="custom"):
    title: str | None = None
    icon: IconName | None = None
    content: str | None = None
    """Markdown."""


class SearchTask(BaseTask, tag="web_search"):
    title: str | None = None
    title_query: str | None = None
    queries: list[str] = always(list)
    sources: list[URLSource] = always(list)


class ThoughtTask(BaseTask, tag="thought"):
    """A piece of the model's reasoning."""

    title: str | None = None
    content: str
    """Markdown."""


class FileTask(BaseTask, tag="file"):
    title: str | None = None
    sources: list[FileSource] = always(list)


class ImageTask(BaseTask, tag="image"):
    title: str | None = None


Task: TypeAlias = CustomTask | SearchTask | ThoughtTask | FileTask | ImageTask


class CustomSummary(Wire):
    title: str
    icon: IconName | None = None


class DurationSummary(Wire):
    duration: int
    """How long the workflow took, in seconds."""


if TYPE_CHECKING:
    WorkflowSummary: TypeAlias = CustomSummary | DurationSummary
else:
    # The two carry no tag, so msgspec can't tell them apart: Workflow does, by the field that only one has.
    WorkflowSummary = dict[str, Any]


class Workflow(Wire):
    """A list of tasks that folds into its summary."""

    type: Literal["custom", "reasoning"]
    tasks: list[Task]
    summary: WorkflowSummary | None = None
    expanded: bool = always(default=False)

    def __post_init__(self) -> None:
        if isinstance(self.summary, dict):
            kind = DurationSummary if "duration" in self.summary else CustomSummary
            self.summary = msgspec.convert(self.summary, kind)
