"""Updates of an item that is still being made (reference: ``types.py``, "THREAD ITEM UPDATE TYPES")."""

from typing import TypeAlias

from bobbin_protocol.items import Annotation, AssistantMessageContent, GeneratedImage
from bobbin_protocol.tasks import Task
from bobbin_protocol.widgets import WidgetComponent, WidgetRoot, check_component, check_root
from bobbin_protocol.wire import Wire


class AssistantMessageContentPartAdded(Wire, tag="assistant_message.content_part.added"):
    content_index: int
    content: AssistantMessageContent


class AssistantMessageContentPartTextDelta(Wire, tag="assistant_message.content_part.text_delta"):
    content_index: int
    delta: str


class AssistantMessageContentPartAnnotationAdded(Wire, tag="assistant_message.content_part.annotation_added"):
    content_index: int
    annotation_index: int
    annotation: Annotation


class AssistantMessageContentPartDone(Wire, tag="assistant_message.content_part.done"):
    """The part in its final form, in place of all that was said of it before."""

    content_index: int
    content: AssistantMessageContent


class WidgetStreamingTextValueDelta(Wire, tag="widget.streaming_text.value_delta"):
    """More text for a ``Text`` or ``Markdown`` component."""

    component_id: str
    delta: str
    done: bool


class WidgetComponentUpdated(Wire, tag="widget.component.updated"):
    component_id: str
    component: WidgetComponent

    def __post_init__(self) -> None:
        self.component = check_component(self.component)


class WidgetRootUpdated(Wire, tag="widget.root.updated"):
    widget: WidgetRoot

    def __post_init__(self) -> None:
        self.widget = check_root(self.widget)


class WorkflowTaskAdded(Wire, tag="workflow.task.added"):
    task_index: int
    task: Task


class WorkflowTaskUpdated(Wire, tag="workflow.task.updated"):
    task_index: int
    task: Task


class GeneratedImageUpdated(Wire, tag="generated_image.updated"):
    image: GeneratedImage
    progress: float | None = None
    """From 0 to 1."""


ThreadItemUpdate: TypeAlias = (
    AssistantMessageContentPartAdded
    | AssistantMessageContentPartTextDelta
    | AssistantMessageContentPartAnnotationAdded
    | AssistantMessageContentPartDone
    | WidgetStreamingTextValueDelta
    | WidgetComponentUpdated
    | WidgetRootUpdated
    | WorkflowTaskAdded
    | WorkflowTaskUpdated
    | GeneratedImageUpdated
)
