"""What the model gets to see of a thread."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.openai_agent.history import estimated_tokens, model_input
from bobbin_gateway.openai_agent.prompt import Entry, Message
from bobbin_gateway.tools.memory import ToolExchange, remembered
from bobbin_gateway.tools.tool import ToolCall, ToolResult
from bobbin_protocol.attachments import FileAttachment
from bobbin_protocol.items import (
    ClientToolCallItem,
    EndOfTurnItem,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    SDKHiddenContextItem,
    StructuredInputItem,
    TaskItem,
    ThreadItem,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    WorkflowItem,
)
from bobbin_protocol.structured_input import StructuredInputAnswer, StructuredInputFreeform
from bobbin_protocol.tasks import CustomTask, ThoughtTask, Workflow
from tests.unit.gateway.openai_agent.samples import IDS, assistant, turn, user

FIELDS: dict[str, Any] = {"id": "x", **IDS}
NOTE = SDKHiddenContextItem(content="The user cancelled the stream.", **FIELDS)

exchanges = st.lists(
    st.tuples(st.text(min_size=1, max_size=60), st.lists(st.text(min_size=1, max_size=60), max_size=3)),
    min_size=1,
    max_size=12,
)


def everything(*items: ThreadItem) -> list[tuple[str, str]]:
    return [
        (message.role, message.text)
        for message in messages(model_input(items, max_items=1000, max_tokens=10**6))
    ]


def read(item: ThreadItem) -> str:
    """The item as the model reads it."""
    return "".join(message.text for message in messages(model_input([item], max_items=10, max_tokens=10**6)))


def messages(entries: list[Entry]) -> list[Message]:
    assert all(isinstance(entry, Message) for entry in entries)
    return [entry for entry in entries if isinstance(entry, Message)]


def test_the_model_sees_the_conversation_in_order() -> None:
    items = [user("Hi"), assistant("Hello"), user("Bye")]
    assert everything(*items) == [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]


def test_neighbours_of_one_role_are_joined_because_many_models_refuse_them() -> None:
    items = [
        user("Hi"),
        assistant("Hel"),
        NOTE,
        user("Go on"),
        user("Please"),
        assistant("A", "B"),
        assistant("C"),
    ]
    assert everything(*items) == [
        ("user", "Hi"),
        ("assistant", "Hel"),
        (
            "user",
            "[Context, not shown to the user: The user cancelled the stream.]\n\nGo on\n\nPlease",
        ),
        ("assistant", "A\n\nB\n\nC"),
    ]


def test_what_the_user_points_at_and_attaches_is_told() -> None:
    item = user("Is it true?", quoted_text="The moon is cheese.")
    assert read(item) == "[About this passage: The moon is cheese.]\nIs it true?"
    tag = UserMessageTagContent(id="c1", text="Ada", data={"born": 1815}, group="People")
    item = user("", content=[UserMessageTextContent(text="Who is "), tag, UserMessageTextContent(text="?")])
    assert read(item) == 'Who is @Ada?\n[@Ada is {"id":"c1","group":"People","data":{"born":1815}}]'
    item = user(
        "Read this", attachments=[FileAttachment(id="atc_1", name="a.pdf", mime_type="application/pdf")]
    )
    assert read(item) == "Read this\n[Attached: a.pdf (application/pdf)]"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (
            HiddenContextItem(content={"vip": True}, **FIELDS),
            '[Context, not shown to the user: {"vip":true}]',
        ),
        (HiddenContextItem(content="VIP", **FIELDS), "[Context, not shown to the user: VIP]"),
        (EndOfTurnItem(**FIELDS), ""),
        (ClientToolCallItem(call_id="c", name="f", arguments={}, **FIELDS), ""),
        (
            ClientToolCallItem(
                call_id="c", name="f", arguments={"a": 1}, status="completed", output=[2], **FIELDS
            ),
            '[f({"a":1}) ran in the user\'s page: [2]]',
        ),
        (GeneratedImageItem(**FIELDS), ""),
        (
            GeneratedImageItem(image=GeneratedImage(id="i", url="data:..."), **FIELDS),
            "[The user was shown an image that the assistant made]",
        ),
        (TaskItem(task=ThoughtTask(content="hm"), **FIELDS), ""),
        (TaskItem(task=CustomTask(), **FIELDS), ""),
        (TaskItem(task=CustomTask(title="Search"), **FIELDS), "[The user was shown this step: Search]"),
        (
            WorkflowItem(
                workflow=Workflow(
                    type="custom",
                    tasks=[CustomTask(title="Search", content="3 hits"), ThoughtTask(content="hm")],
                ),
                **FIELDS,
            ),
            "[The user was shown this step: Search: 3 hits]",
        ),
        (
            StructuredInputItem(
                inputs=[
                    StructuredInputFreeform(
                        id="1", question="Name?", answer=StructuredInputAnswer(values=["Al"])
                    ),
                    StructuredInputFreeform(
                        id="2", question="Age?", answer=StructuredInputAnswer(skipped=True)
                    ),
                    StructuredInputFreeform(id="3", question="Pet?"),
                ],
                **FIELDS,
            ),
            "[The user was asked: Name? Al; Age? (skipped); Pet? (no answer)]",
        ),
        (assistant(), ""),
    ],
)
def test_every_kind_of_item_is_told_or_left_out(item: ThreadItem, text: str) -> None:
    assert read(item) == text


def test_a_widget_is_told_by_its_copy_text_or_its_content() -> None:
    widget: Any = {"type": "Card", "children": [{"type": "Text", "value": "42"}]}
    assert '"42"' in read(WidgetItem(widget=widget, **FIELDS))
    assert (
        read(WidgetItem(widget=widget, copy_text="The answer", **FIELDS))
        == "[The user was shown: The answer]"
    )


@given(exchanges, st.integers(1, 40), st.integers(1, 400))
def test_history_is_cut_from_the_newest_backwards_and_never_within_an_exchange(
    exchanges: list[tuple[str, list[str]]], max_items: int, max_tokens: int
) -> None:
    groups = [[user(question), *map(assistant, answers)] for question, answers in exchanges]
    items = [item for group in groups for item in group]
    kept = model_input(items, max_items=max_items, max_tokens=max_tokens)
    ends = [model_input(sum(groups[at:], []), max_items=1000, max_tokens=10**6) for at in range(len(groups))]  # noqa: RUF017 (small)
    assert kept in ends
    at = ends.index(kept)
    if at < len(groups) - 1:
        assert sum(map(len, groups[at:])) <= max_items
        assert cost(groups[at:]) <= max_tokens
    if at > 0:
        assert sum(map(len, groups[at - 1 :])) > max_items or cost(groups[at - 1 :]) > max_tokens


def cost(groups: list[list[Any]]) -> int:
    return sum(estimated_tokens(read(item)) for group in groups for item in group)


@given(st.integers(1, 12), st.integers(0, 5))
def test_a_window_that_starts_within_an_answer_gives_no_half_exchange(limit: int, extra: int) -> None:
    items: list[ThreadItem] = []
    while len(items) < limit + extra:
        items += [user(f"Q{len(items)}"), assistant(f"A{len(items)}"), assistant("and more")]
    window = items[-limit:]
    kept = messages(model_input(window, max_items=limit, max_tokens=10**6))
    if any(isinstance(item, UserMessageItem) for item in window):
        assert kept[0].role == "user"


def test_a_greeting_by_the_assistant_is_kept_while_the_thread_is_whole() -> None:
    items = [assistant("Welcome"), user("Hi")]
    assert model_input(items, max_items=10, max_tokens=1000)[0] == Message("assistant", "Welcome")


def test_the_newest_question_is_never_left_out_however_large() -> None:
    items = [user("Hi"), assistant("Hello"), user("x" * 100_000)]
    kept = messages(model_input(items, max_items=1, max_tokens=10))
    assert [len(message.text) for message in kept] == [100_000]


def test_an_empty_thread_gives_nothing() -> None:
    assert model_input([], max_items=10, max_tokens=10) == []


@pytest.mark.parametrize(("text", "tokens"), [("x" * 300, 104), ("語" * 100, 104), ("", 4)])
def test_the_guess_of_tokens_errs_to_the_safe_side(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


EXCHANGE = ToolExchange(
    [ToolCall(call_id="c1", name="add", arguments='{"a":1}')], [ToolResult(call_id="c1", output="2")]
)


def test_what_tools_did_is_told_as_calls_where_the_model_can_have_them_else_in_words() -> None:
    asked = user("1 + 1?")
    steps = WorkflowItem(workflow=Workflow(type="custom", tasks=[CustomTask(title="Add")]), **FIELDS)
    items = [asked, steps, remembered(turn(asked), EXCHANGE), assistant("2")]
    assert model_input(items, max_items=10, max_tokens=1000, with_calls=True) == [
        Message("user", "1 + 1?"),
        EXCHANGE,
        Message("assistant", "2"),
    ]
    assert everything(*items) == [
        ("user", '1 + 1?\n\n[The assistant used add({"a":1}): 2]'),
        ("assistant", "2"),
    ]


def test_what_the_users_page_did_is_a_call_like_others() -> None:
    item = ClientToolCallItem(
        call_id="c", name="f", arguments={"a": 1}, status="completed", output=[2], **FIELDS
    )
    [exchange] = model_input([item], max_items=10, max_tokens=1000, with_calls=True)
    assert exchange == ToolExchange(
        [ToolCall(call_id="c", name="f", arguments='{"a":1}')], [ToolResult(call_id="c", output="[2]")]
    )


def test_calls_and_attachments_count_for_the_budget() -> None:
    large = ToolExchange(EXCHANGE.calls, [ToolResult(call_id="c1", output="x" * 3000)])
    items = [user("Q"), remembered(turn(), large), assistant("A"), user("Next")]
    assert len(model_input(items, max_items=10, max_tokens=500, with_calls=True)) == 1
    file = FileAttachment(id="atc_1", name="a.pdf", mime_type="application/pdf")
    items = [user("Q", attachments=[file]), assistant("A"), user("Next", attachments=[file])]
    kept = messages(model_input(items, max_items=10, max_tokens=1500))
    assert [message.attachments for message in kept] == [(file,)]


@pytest.mark.parametrize("content", [{"type": "tool_exchange"}, {"type": "tool_exchange", "calls": 1}])
def test_an_exchange_of_another_version_is_context_like_any_other(content: Any) -> None:
    assert read(HiddenContextItem(content=content, **FIELDS)).startswith("[Context, not shown")
