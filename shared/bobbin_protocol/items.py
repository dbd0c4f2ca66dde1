"""Items: the entries of a thread (reference: ``types.py``, "THREAD ITEM TYPES")."""

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from bobbin_protocol.attachments import Attachment
from bobbin_protocol.sources import Source
from bobbin_protocol.structured_input import StructuredInput
from bobbin_protocol.tasks import Task, Workflow
from bobbin_protocol.widgets import WidgetRoot, check_root
from bobbin_protocol.wire import Wire, always, utc


class ThreadItemBase(Wire):
    id: str
    thread_id: str
    created_at: datetime

    def __post_init__(self) -> None:
        self.created_at = utc(self.created_at)


class UserMessageTextContent(Wire, tag="input_text"):
    text: str


class UserMessageTagContent(Wire, tag="input_tag"):
    """An @-mention of something of the host application."""

    id: str
    text: str
    data: dict[str, Any]
    group: str | None = None
    interactive: bool = always(default=False)


UserMessageContent: TypeAlias = UserMessageTextContent | UserMessageTagContent


class ToolChoice(Wire):
    id: str


class InferenceOptions(Wire):
    """What the user chose in the composer for this message."""

    tool_choice: ToolChoice | None = None
    model: str | None = None


class UserMessageItem(ThreadItemBase, tag="user_message"):
    content: list[UserMessageContent]
    attachments: list[Attachment] = always(list)
    quoted_text: str | None = None
    inference_options: InferenceOptions


class Annotation(Wire, tag="annotation"):
    """A reference to a source, at a place in the text."""

    source: Source
    index: int | None = None
    """Offset in the text that it stands behind; at the end when absent."""


class AssistantMessageContent(Wire, tag="output_text"):
    annotations: list[Annotation] = always(list)
    text: str
    """Markdown."""


class AssistantMessageItem(ThreadItemBase, tag="assistant_message"):
    content: list[AssistantMessageContent]


class ClientToolCallItem(ThreadItemBase, tag="client_tool_call"):
    """A call of a function in the user's page. A pending one ends the turn until its output comes."""

    status: Literal["pending", "completed"] = always("pending")
    call_id: str
    name: str
    arguments: dict[str, Any]
    output: Any = None


class WidgetItem(ThreadItemBase, tag="widget"):
    widget: WidgetRoot
    copy_text: str | None = None
    """What the copy button copies."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.widget = check_root(self.widget)


class GeneratedImage(Wire):
    id: str
    url: str


class GeneratedImageItem(ThreadItemBase, tag="generated_image"):
    image: GeneratedImage | None = None


class StructuredInputItem(ThreadItemBase, tag="structured_input"):
    status: Literal["pending", "answered", "skipped"] = always("pending")
    inputs: list[StructuredInput]


class TaskItem(ThreadItemBase, tag="task"):
    task: Task


class WorkflowItem(ThreadItemBase, tag="workflow"):
    workflow: Workflow


class EndOfTurnItem(ThreadItemBase, tag="end_of_turn"):
    pass


class HiddenContextItem(ThreadItemBase, tag="hidden_context_item"):
    """Context for the model, put there by the agent. It never reaches a client."""

    content: Any = None


class SDKHiddenContextItem(ThreadItemBase, tag="sdk_hidden_context"):
    """Context for the model, put there by the server itself. It never reaches a client."""

    content: str


HiddenItem: TypeAlias = HiddenContextItem | SDKHiddenContextItem

ThreadItem: TypeAlias = (
    UserMessageItem
    | AssistantMessageItem
    | ClientToolCallItem
    | WidgetItem
    | GeneratedImageItem
    | StructuredInputItem
    | WorkflowItem
    | TaskItem
    | HiddenContextItem
    | SDKHiddenContextItem
    | EndOfTurnItem
)

StoredItem: TypeAlias = dict[str, Any]
"""An item as plain JSON-like data, so that fields which this version does not know are kept."""

_BY_TYPE: Final[dict[str, type[ThreadItem]]] = {
    kind.__struct_config__.tag: kind for kind in get_args(ThreadItem)
}


def thread_item_of(item: StoredItem) -> ThreadItem:
    """Type an item.

    Raises:
        msgspec.ValidationError: It is no item that this version knows.
    """
    # By its own type where it is known: msgspec takes the union apart anew each time, for ten times as long.
    kind = item.get("type")
    return msgspec.convert(item, _BY_TYPE.get(kind, ThreadItem) if isinstance(kind, str) else ThreadItem)


HIDDEN_ITEM_TYPES: Final = frozenset({"hidden_context_item", "sdk_hidden_context"})
"""The ``type`` of items that never reach a client."""


def for_client(item: StoredItem) -> StoredItem:
    """Give the item as clients may see it: without the metadata of its attachments.

    Hidden items have no such form; leave them out by ``HIDDEN_ITEM_TYPES``.
    """
    attachments = item.get("attachments")
    if item.get("type") != "user_message" or not attachments:
        return item
    visible = [
        {key: attachment[key] for key in attachment if key != "metadata"} for attachment in attachments
    ]
    return {**item, "attachments": visible}
