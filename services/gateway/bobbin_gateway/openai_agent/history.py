"""What a model gets to see of a thread: its items as messages, cut to a budget from the newest backwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import Struct

from bobbin_protocol.items import (
    AssistantMessageItem,
    ClientToolCallItem,
    EndOfTurnItem,
    GeneratedImageItem,
    HiddenContextItem,
    SDKHiddenContextItem,
    StructuredInputItem,
    TaskItem,
    ThreadItem,
    UserMessageItem,
    UserMessageTagContent,
    WidgetItem,
    WorkflowItem,
)
from bobbin_protocol.structured_input import StructuredInputAnswer
from bobbin_protocol.tasks import CustomTask, Task
from bobbin_protocol.wire import encode_json

_MESSAGE_TOKENS = 4
"""What the frame around a message costs."""


class Message(Struct, frozen=True):
    """One message of a model's input."""

    role: Literal["user", "assistant"]
    text: str


def model_input(items: Sequence[ThreadItem], *, max_items: int, max_tokens: int) -> list[Message]:
    """The end of a thread that fits the budget, as messages whose roles alternate.

    A question is never parted from what followed it: it is left out together with its answer. The newest
    question is always there, even if it is too large alone.

    Args:
        items: The thread's last items, oldest first. If there are `max_items` of them, older ones may exist,
            and what stands before the first question is taken for the rest of an answer and left out.
        max_items: Most items to use.
        max_tokens: Most tokens to use, by `estimated_tokens`.
    """
    exchanges = _exchanges(items)
    if len(items) >= max_items and len(exchanges) > 1 and not isinstance(exchanges[0][0], UserMessageItem):
        del exchanges[0]
    kept: list[list[Message]] = []
    room_items, room_tokens = max_items, max_tokens
    for exchange in reversed(exchanges):
        messages = [message for item in exchange for message in _messages(item)]
        room_items -= len(exchange)
        room_tokens -= sum(estimated_tokens(message.text) for message in messages)
        if kept and (room_items < 0 or room_tokens < 0):
            break
        kept.append(messages)
    return _alternating(message for messages in reversed(kept) for message in messages)


def estimated_tokens(text: str) -> int:
    """Tokens of a message, guessed without knowing the model: a third of its UTF-8 bytes, and its frame.

    English has about four bytes to a token, Chinese three, so that the guess errs to the safe side.
    """
    return len(text.encode()) // 3 + _MESSAGE_TOKENS


def _exchanges(items: Sequence[ThreadItem]) -> list[list[ThreadItem]]:
    """Cut before each user message."""
    exchanges: list[list[ThreadItem]] = []
    for item in items:
        if not exchanges or isinstance(item, UserMessageItem):
            exchanges.append([])
        exchanges[-1].append(item)
    return exchanges


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """Join neighbours of one role: the chat templates of many open models refuse two in a row."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].text}\n\n{message.text}")
        else:
            joined.append(message)
    return joined


def _messages(item: ThreadItem) -> list[Message]:
    """The item as the model reads it; what was only shown is told as a note, in the user's role."""
    if isinstance(item, AssistantMessageItem):
        text = "\n\n".join(part.text for part in item.content if part.text)
        return [Message("assistant", text)] if text else []
    text = _user_text(item) if isinstance(item, UserMessageItem) else _note(item)
    return [Message("user", text)] if text else []


def _user_text(item: UserMessageItem) -> str:
    tags = {part.id: part for part in item.content if isinstance(part, UserMessageTagContent)}
    words = "".join(
        f"@{part.text}" if isinstance(part, UserMessageTagContent) else part.text for part in item.content
    )
    lines = [f"[About this passage: {item.quoted_text}]"] if item.quoted_text else []
    lines += [words] if words else []
    lines += [f"[@{tag.text} is {_json(_described(tag))}]" for tag in tags.values()]
    lines += [f"[Attached: {attachment.name} ({attachment.mime_type})]" for attachment in item.attachments]
    return "\n".join(lines)


def _described(tag: UserMessageTagContent) -> dict[str, Any]:
    group = {"group": tag.group} if tag.group else {}
    return {"id": tag.id, **group, **({"data": tag.data} if tag.data else {})}


def _note(item: ThreadItem) -> str:
    match item:
        case HiddenContextItem() | SDKHiddenContextItem():
            content = item.content
            return (
                f"[Context, not shown to the user: {content if isinstance(content, str) else _json(content)}]"
            )
        case ClientToolCallItem(status="completed"):
            return f"[{item.name}({_json(item.arguments)}) ran in the user's page: {_json(item.output)}]"
        case WidgetItem():
            return f"[The user was shown: {item.copy_text or _json(item.widget)}]"
        case GeneratedImageItem():
            return "[The user was shown an image that the assistant made]" if item.image else ""
        case StructuredInputItem():
            answers = "; ".join(f"{question.question} {_said(question.answer)}" for question in item.inputs)
            return f"[The user was asked: {answers}]"
        case TaskItem():
            return _tasks([item.task])
        case WorkflowItem():
            return _tasks(item.workflow.tasks)
        case ClientToolCallItem() | EndOfTurnItem() | UserMessageItem() | AssistantMessageItem():
            return ""


def _said(answer: StructuredInputAnswer | None) -> str:
    if answer is None:
        return "(no answer)"
    return "(skipped)" if answer.skipped else ", ".join(answer.values)


def _tasks(tasks: Sequence[Task]) -> str:
    """Only tasks that say something of their own: thoughts and searches are the model's, not the thread's."""
    lines = [
        ": ".join(filter(None, (task.title, task.content))) for task in tasks if isinstance(task, CustomTask)
    ]
    return "\n".join(f"[The user was shown this step: {line}]" for line in lines if line)


def _json(value: object) -> str:
    return encode_json(value).decode()
