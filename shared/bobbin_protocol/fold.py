"""Folding a turn's events into the items as they stand.

The rules are those of chatkit.js and of the reference's server (``server.py``,
``_apply_assistant_message_update`` and ``_update_pending_items``), which keeps what was said when a stream is
cancelled. Beyond it, widgets and images are kept up to date too.

An update that fits no open item (unknown, done already, of another kind, out of range) changes nothing: a
fold must survive whatever an agent sends.
"""

from typing import Any

import msgspec

from bobbin_protocol.events import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.items import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    GeneratedImageItem,
    ThreadItem,
    WidgetItem,
    WorkflowItem,
)
from bobbin_protocol.updates import (
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartAnnotationAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    GeneratedImageUpdated,
    ThreadItemUpdate,
    WidgetComponentUpdated,
    WidgetRootUpdated,
    WidgetStreamingTextValueDelta,
    WorkflowTaskAdded,
    WorkflowTaskUpdated,
)
from bobbin_protocol.widgets import ROOT_TYPES, find_component, plain_widget


class ItemFold:
    """The items that a turn's events speak of, kept up to date event by event."""

    def __init__(self) -> None:
        self._items: dict[str, _Open | ThreadItem] = {}
        self._removed: dict[str, None] = {}
        self._came: set[str] = set()

    def apply(self, event: ThreadStreamEvent) -> None:
        """Take in the turn's next event; those that are not about items are ignored."""
        match event:
            case ThreadItemUpdatedEvent():
                item = self._items.get(event.item_id)
                if isinstance(item, _Open):
                    item.apply(event.update)
            case ThreadItemAddedEvent():
                self._came.add(event.item.id)
                self._put(event.item.id, _open(event.item))
            case ThreadItemDoneEvent():
                self._came.add(event.item.id)
                self._put(event.item.id, event.item)
            case ThreadItemReplacedEvent():
                self._put(event.item.id, event.item)
            case ThreadItemRemovedEvent():
                self._items.pop(event.item_id, None)
                self._removed[event.item_id] = None
            case _:
                pass

    def pending(self) -> list[ThreadItem]:
        """Give the items that are not done, as they stand, in the order they appeared."""
        return [item.item() for item in self._items.values() if isinstance(item, _Open)]

    def done(self) -> list[ThreadItem]:
        """Give the items that are done or replaced, in the order they appeared."""
        return [item for item in self._items.values() if not isinstance(item, _Open)]

    def items(self) -> list[ThreadItem]:
        """Give all items as they stand, in the order they appeared."""
        return [item.item() if isinstance(item, _Open) else item for item in self._items.values()]

    def came(self, item_id: str) -> bool:
        """Tell an item that came with these events from one that took the place of an earlier one."""
        return item_id in self._came

    def removed(self) -> list[str]:
        """Give the ids of the items that were removed and did not come back."""
        return list(self._removed)

    def _put(self, item_id: str, item: "_Open | ThreadItem") -> None:
        self._removed.pop(item_id, None)
        self._items[item_id] = item


class _Open:
    """An item that is still being made, by itself of a kind that knows no updates.

    It shares no list with the event that brought it, which belongs to the agent.
    """

    def __init__(self, item: ThreadItem) -> None:
        self._item = item

    def apply(self, update: ThreadItemUpdate) -> None:
        pass

    def item(self) -> ThreadItem:
        return self._item


class _Part:
    """A content part: its text in pieces, so that a delta costs the same however long the text is."""

    def __init__(self, text: str = "", annotations: list[Annotation] | None = None) -> None:
        self.pieces = [text]
        self.annotations = list(annotations or ())

    def content(self) -> AssistantMessageContent:
        self.pieces = ["".join(self.pieces)]
        return AssistantMessageContent(text=self.pieces[0], annotations=list(self.annotations))


class _OpenMessage(_Open):
    def __init__(self, item: AssistantMessageItem) -> None:
        self._item = item
        self._parts = [_Part(part.text, part.annotations) for part in item.content]

    def apply(self, update: ThreadItemUpdate) -> None:
        match update:
            case AssistantMessageContentPartTextDelta():
                if part := self._part(update.content_index):
                    part.pieces.append(update.delta)
            case AssistantMessageContentPartAdded() | AssistantMessageContentPartDone():
                if self._part(update.content_index):
                    content = update.content
                    self._parts[update.content_index] = _Part(content.text, content.annotations)
            case AssistantMessageContentPartAnnotationAdded():
                if part := self._part(update.content_index):
                    # list.insert puts what lies beyond the end at the end, as the reference does.
                    part.annotations.insert(update.annotation_index, update.annotation)
            case _:
                pass

    def item(self) -> AssistantMessageItem:
        return msgspec.structs.replace(self._item, content=[part.content() for part in self._parts])

    def _part(self, index: int) -> _Part | None:
        """Find a part; updates may come for one that was never added, and for later ones before it."""
        if index < 0:
            return None
        while len(self._parts) <= index:
            self._parts.append(_Part())
        return self._parts[index]


class _OpenWorkflow(_Open):
    def __init__(self, item: WorkflowItem) -> None:
        self._item = item
        self._tasks = list(item.workflow.tasks)

    def apply(self, update: ThreadItemUpdate) -> None:
        match update:
            case WorkflowTaskAdded():
                self._tasks.append(update.task)
            case WorkflowTaskUpdated() if 0 <= update.task_index < len(self._tasks):
                self._tasks[update.task_index] = update.task
            case _:
                pass

    def item(self) -> WorkflowItem:
        workflow = msgspec.structs.replace(self._item.workflow, tasks=list(self._tasks))
        return msgspec.structs.replace(self._item, workflow=workflow)


class _OpenWidget(_Open):
    def __init__(self, item: WidgetItem) -> None:
        self._item = item
        self._tree = plain_widget(item.widget)

    def apply(self, update: ThreadItemUpdate) -> None:
        match update:
            case WidgetRootUpdated():
                self._tree = plain_widget(update.widget)
            case WidgetComponentUpdated():
                self._replace(update.component_id, plain_widget(update.component))
            case WidgetStreamingTextValueDelta():
                if component := find_component(self._tree, update.component_id):
                    _append_text(component, update)
            case _:
                pass

    def item(self) -> WidgetItem:
        return msgspec.structs.replace(self._item, widget=plain_widget(self._tree))

    def _replace(self, component_id: str, replacement: dict[str, Any]) -> None:
        component = find_component(self._tree, component_id)
        if component is None or (component is self._tree and replacement.get("type") not in ROOT_TYPES):
            return
        component.clear()
        component.update(replacement)


def _append_text(component: dict[str, Any], update: WidgetStreamingTextValueDelta) -> None:
    value = component.get("value", "")
    if isinstance(value, str):
        component["value"] = value + update.delta
    if update.done and "streaming" in component:
        component["streaming"] = False


class _OpenImage(_Open):
    def __init__(self, item: GeneratedImageItem) -> None:
        self._item = item

    def apply(self, update: ThreadItemUpdate) -> None:
        if isinstance(update, GeneratedImageUpdated):
            self._item = msgspec.structs.replace(self._item, image=update.image)

    def item(self) -> GeneratedImageItem:
        return self._item


def _open(item: ThreadItem) -> _Open:
    match item:
        case AssistantMessageItem():
            return _OpenMessage(item)
        case WorkflowItem():
            return _OpenWorkflow(item)
        case WidgetItem():
            return _OpenWidget(item)
        case GeneratedImageItem():
            return _OpenImage(item)
        case _:
            return _Open(item)
