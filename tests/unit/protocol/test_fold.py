"""Folding events into items. The agent side of each property is written here, the folding side is ours."""

import copy
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_protocol.events import (
    NoticeEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)
from bobbin_protocol.fold import ItemFold
from bobbin_protocol.items import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    EndOfTurnItem,
    GeneratedImage,
    GeneratedImageItem,
    ThreadItem,
    WidgetItem,
    WorkflowItem,
)
from bobbin_protocol.sources import URLSource
from bobbin_protocol.tasks import ThoughtTask, Workflow
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
from bobbin_protocol.widgets import Card, Markdown, Row, Text, Title, WidgetRoot

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def message(*texts: str, item_id: str = "m") -> AssistantMessageItem:
    content = [AssistantMessageContent(text=text) for text in texts]
    return AssistantMessageItem(id=item_id, thread_id="t", created_at=NOW, content=content)


def workflow(*thoughts: str) -> WorkflowItem:
    tasks = [ThoughtTask(content=thought) for thought in thoughts]
    return WorkflowItem(
        id="w", thread_id="t", created_at=NOW, workflow=Workflow(type="reasoning", tasks=list(tasks))
    )


def widget(root: WidgetRoot) -> WidgetItem:
    return WidgetItem(id="x", thread_id="t", created_at=NOW, widget=root)


def annotation(title: str) -> Annotation:
    return Annotation(source=URLSource(title=title, url="https://a"))


def delta(index: int, text: str) -> AssistantMessageContentPartTextDelta:
    return AssistantMessageContentPartTextDelta(content_index=index, delta=text)


def fold(*events: ThreadStreamEvent) -> ItemFold:
    folded = ItemFold()
    for event in events:
        folded.apply(event)
    return folded


def grown(item: ThreadItem, *updates: ThreadItemUpdate) -> ThreadItem:
    """Give the item as it stands after it was added and updated."""
    events = [ThreadItemUpdatedEvent(item_id=item.id, update=update) for update in updates]
    (pending,) = fold(ThreadItemAddedEvent(item=item), *events).pending()
    return pending


_EDITS = st.one_of(
    st.builds(delta, st.integers(0, 3), st.text()),
    st.builds(
        AssistantMessageContentPartAdded,
        content_index=st.integers(0, 3),
        content=st.builds(AssistantMessageContent, text=st.text()),
    ),
    st.builds(
        AssistantMessageContentPartDone,
        content_index=st.integers(0, 3),
        content=st.builds(AssistantMessageContent, text=st.text()),
    ),
    st.builds(
        AssistantMessageContentPartAnnotationAdded,
        content_index=st.integers(0, 3),
        annotation_index=st.integers(0, 4),
        annotation=st.builds(annotation, st.text()),
    ),
)


@given(start=st.lists(st.text(), max_size=2), updates=st.lists(_EDITS, max_size=20), look=st.integers(0, 20))
def test_a_message_folded_from_its_updates_is_the_message_that_was_written(
    start: list[str], updates: list[ThreadItemUpdate], look: int
) -> None:
    """Whatever the order of parts, and whether or not anyone looks at it in between."""
    folded = fold(ThreadItemAddedEvent(item=message(*start)))
    expected = message(*start).content
    for step, update in enumerate(copy.deepcopy(updates)):
        _write(expected, update)
        folded.apply(ThreadItemUpdatedEvent(item_id="m", update=update))
        if step == look:
            folded.pending()
    (item,) = folded.pending()
    assert isinstance(item, AssistantMessageItem)
    assert item.content == expected


def _write(content: list[AssistantMessageContent], update: ThreadItemUpdate) -> None:
    update = copy.deepcopy(update)
    index = update.content_index  # type: ignore[union-attr]  # only message updates come here
    content.extend(AssistantMessageContent(text="") for _ in range(index + 1 - len(content)))
    match update:
        case AssistantMessageContentPartTextDelta():
            content[index].text += update.delta
        case AssistantMessageContentPartAnnotationAdded():
            before = content[index].annotations
            content[index].annotations = [
                *before[: update.annotation_index],
                update.annotation,
                *before[update.annotation_index :],
            ]
        case AssistantMessageContentPartAdded() | AssistantMessageContentPartDone():
            content[index] = update.content


@given(text=st.text(), cuts=st.lists(st.integers(0, 50), max_size=8))
def test_the_deltas_of_a_text_add_up_to_it(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert grown(message(""), *(delta(0, piece) for piece in pieces)) == message(text)


def test_a_delta_for_a_part_that_was_never_added_makes_it() -> None:
    assert grown(message(), delta(2, "c"), delta(0, "a")) == message("a", "", "c")


def test_tasks_of_a_workflow_are_added_and_changed_in_place() -> None:
    item = grown(
        workflow("a"),
        WorkflowTaskAdded(task_index=1, task=ThoughtTask(content="b")),
        WorkflowTaskUpdated(task_index=0, task=ThoughtTask(content="A")),
    )
    assert item == workflow("A", "b")


def test_a_picture_gets_better() -> None:
    item = GeneratedImageItem(id="i", thread_id="t", created_at=NOW)
    image = GeneratedImage(id="1", url="https://a")
    assert grown(item, GeneratedImageUpdated(image=image, progress=0.5)) == msgspec.structs.replace(
        item, image=image
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_text_streams_into_a_widget(*, as_json: bool) -> None:
    root: WidgetRoot = Card(
        children=[Row(children=[Markdown(id="a", value="Hel", streaming=True)]), Text(id="b", value="")]
    )
    item = grown(
        widget(msgspec.to_builtins(root) if as_json else root),
        WidgetStreamingTextValueDelta(component_id="a", delta="lo", done=False),
        WidgetStreamingTextValueDelta(component_id="b", delta="!", done=True),
        WidgetStreamingTextValueDelta(component_id="a", delta=".", done=True),
    )
    expected = Card(
        children=[Row(children=[Markdown(id="a", value="Hello.", streaming=False)]), Text(id="b", value="!")]
    )
    assert item == widget(msgspec.to_builtins(expected))


def test_a_component_of_a_widget_is_exchanged_where_it_stands() -> None:
    item = grown(
        widget(Card(children=[Row(children=[Text(id="a", value="x", italic=True)])])),
        WidgetComponentUpdated(component_id="a", component=Title(id="a", value="y")),
        WidgetStreamingTextValueDelta(component_id="a", delta="z", done=False),
    )
    assert item == widget(msgspec.to_builtins(Card(children=[Row(children=[Title(id="a", value="yz")])])))


def test_a_new_root_takes_the_place_of_the_old() -> None:
    item = grown(widget(Card(children=[])), WidgetRootUpdated(widget={"type": "Basic", "glow": 1}))
    assert item == widget({"type": "Basic", "glow": 1})


@pytest.mark.parametrize(
    ("item", "update"),
    [
        (message("a"), delta(-1, "x")),
        (message("a"), WorkflowTaskAdded(task_index=0, task=ThoughtTask(content="x"))),
        (workflow("a"), WorkflowTaskUpdated(task_index=1, task=ThoughtTask(content="x"))),
        (workflow("a"), WorkflowTaskUpdated(task_index=-1, task=ThoughtTask(content="x"))),
        (workflow("a"), delta(0, "x")),
        (EndOfTurnItem(id="e", thread_id="t", created_at=NOW), delta(0, "x")),
        (GeneratedImageItem(id="i", thread_id="t", created_at=NOW), delta(0, "x")),
        (
            widget({"type": "Card", "id": "c"}),
            WidgetStreamingTextValueDelta(component_id="d", delta="x", done=True),
        ),
        (
            widget({"type": "Card", "id": "c"}),
            WidgetComponentUpdated(component_id="c", component={"type": "Text"}),
        ),
        (
            widget({"type": "Card", "id": "c", "value": 3}),
            WidgetStreamingTextValueDelta(component_id="c", delta="x", done=True),
        ),
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(item: ThreadItem, update: ThreadItemUpdate) -> None:
    assert grown(item, update) == item


def test_items_move_from_pending_to_done_and_keep_their_order() -> None:
    first, second = message("", item_id="1"), message("", item_id="2")
    folded = fold(
        NoticeEvent(level="info", message="not about items"),
        ThreadItemAddedEvent(item=first),
        ThreadItemAddedEvent(item=second),
        ThreadItemUpdatedEvent(item_id="1", update=delta(0, "partial")),
        ThreadItemUpdatedEvent(item_id="unknown", update=delta(0, "x")),
        ThreadItemDoneEvent(item=message("final", item_id="2")),
        ThreadItemUpdatedEvent(item_id="2", update=delta(0, "too late")),
        ThreadItemDoneEvent(item=message("never added", item_id="3")),
        ThreadItemReplacedEvent(item=message("of an earlier turn", item_id="0")),
    )
    assert folded.pending() == [message("partial", item_id="1")]
    assert folded.done() == [
        message("final", item_id="2"),
        message("never added", item_id="3"),
        message("of an earlier turn", item_id="0"),
    ]
    assert [item.id for item in folded.items()] == ["1", "2", "3", "0"]


def test_removed_items_are_gone_and_named_unless_they_come_back() -> None:
    folded = fold(
        ThreadItemAddedEvent(item=message(item_id="1")),
        ThreadItemRemovedEvent(item_id="1"),
        ThreadItemRemovedEvent(item_id="of an earlier turn"),
        ThreadItemDoneEvent(item=message(item_id="2")),
        ThreadItemRemovedEvent(item_id="2"),
        ThreadItemDoneEvent(item=message("again", item_id="2")),
    )
    assert folded.items() == [message("again", item_id="2")]
    assert folded.removed() == ["1", "of an earlier turn"]


def test_an_item_that_came_is_told_from_one_that_was_there_before() -> None:
    folded = fold(
        ThreadItemAddedEvent(item=message(item_id="added")),
        ThreadItemReplacedEvent(item=message("new", item_id="added")),
        ThreadItemDoneEvent(item=message(item_id="done")),
        ThreadItemReplacedEvent(item=message("new", item_id="before")),
    )
    assert [item.id for item in folded.items() if folded.came(item.id)] == ["added", "done"]
    assert [item.id for item in folded.items()] == ["added", "done", "before"]


def test_what_the_agent_keeps_and_what_the_fold_keeps_are_apart() -> None:
    """An agent that goes on changing its own item neither loses nor doubles what it streams."""
    mine = message("a")
    folded = fold(ThreadItemAddedEvent(item=mine))
    mine.content[0].text += "b"
    folded.apply(ThreadItemUpdatedEvent(item_id="m", update=delta(0, "b")))
    (seen,) = folded.pending()
    assert seen == message("ab")
    folded.apply(ThreadItemUpdatedEvent(item_id="m", update=delta(0, "c")))
    assert seen == message("ab")
