"""What a model gets to see of a thread: its items as messages, cut to a budget from the newest backwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bobbin_gateway.openai_agent.prompt import Entry, Message
from bobbin_gateway.tools.memory import ToolExchange, recalled
from bobbin_gateway.tools.tool import ToolCall, ToolResult
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
_ATTACHMENT_TOKENS = 1000
"""What an attachment costs, guessed: an image of some size, a page or two."""


def model_input(
    items: Sequence[ThreadItem], *, max_items: int, max_tokens: int, with_calls: bool = False
) -> list[Entry]:
    """The end of a thread that fits the budget, as messages whose roles alternate.

    A question is never parted from what followed it: it is left out together with its answer. The newest
    question is always there, even if it is too large alone.

    Args:
        items: The thread's last items, oldest first. If there are `max_items` of them, older ones may exist,
            and what stands before the first question is taken for the rest of an answer and left out.
        max_items: Most items to use.
        max_tokens: Most tokens to use, by `estimated_tokens`.
        with_calls: Give calls of tools as such; else they are told as notes, which every model can read.
    """
    exchanges = _exchanges(items)
    if len(items) >= max_items and len(exchanges) > 1 and not isinstance(exchanges[0][0], UserMessageItem):
        del exchanges[0]
    kept: list[list[Entry]] = []
    room_items, room_tokens = max_items, max_tokens
    for exchange in reversed(exchanges):
        entries = _entries(exchange, with_calls=with_calls)
        room_items -= len(exchange)
        room_tokens -= sum(map(_tokens, entries))
        if kept and (room_items < 0 or room_tokens < 0):
            break
        kept.append(entries)
    return _alternating(entry for entries in reversed(kept) for entry in entries)


def estimated_tokens(text: str) -> int:
    """Tokens of a message, guessed without knowing the model: a third of its UTF-8 bytes, and its frame.

    English has about four bytes to a token, Chinese three, so that the guess errs to the safe side.
    """
    return len(text.encode()) // 3 + _MESSAGE_TOKENS


def _tokens(entry: Entry) -> int:
    if isinstance(entry, Message):
        return estimated_tokens(entry.text) + _ATTACHMENT_TOKENS * len(entry.attachments)
    texts = [call.name + call.arguments for call in entry.calls] + [result.output for result in entry.results]
    return sum(map(estimated_tokens, texts))


def _exchanges(items: Sequence[ThreadItem]) -> list[list[ThreadItem]]:
    """Cut before each user message."""
    exchanges: list[list[ThreadItem]] = []
    for item in items:
        if not exchanges or isinstance(item, UserMessageItem):
            exchanges.append([])
        exchanges[-1].append(item)
    return exchanges


def _alternating(entries: Iterable[Entry]) -> list[Entry]:
    """Join neighbours of one role: the chat templates of many open models refuse two in a row."""
    joined: list[Entry] = []
    for entry in entries:
        before = joined[-1] if joined else None
        if isinstance(entry, Message) and isinstance(before, Message) and before.role == entry.role:
            text = f"{before.text}\n\n{entry.text}"
            joined[-1] = Message(entry.role, text, before.attachments + entry.attachments)
        else:
            joined.append(entry)
    return joined


def _entries(exchange: Sequence[ThreadItem], *, with_calls: bool) -> list[Entry]:
    """A question and what followed it, as the model reads it.

    What was only shown is told as a note, in the user's role; not the steps of calls that are told anyway.
    """
    entries: list[Entry] = []
    knows_calls = any(isinstance(item, HiddenContextItem) and recalled(item.content) for item in exchange)
    for item in exchange:
        if with_calls and (calls := _calls(item)):
            entries.append(calls)
        elif not (knows_calls and isinstance(item, WorkflowItem)):
            entries += _messages(item)
    return entries


def _calls(item: ThreadItem) -> ToolExchange | None:
    match item:
        case HiddenContextItem(content=content):
            return recalled(content)
        case ClientToolCallItem(status="completed", call_id=call_id):
            call = ToolCall(call_id=call_id, name=item.name, arguments=_json(item.arguments))
            return ToolExchange([call], [ToolResult(call_id=call_id, output=_json(item.output))])
        case _:
            return None


def _messages(item: ThreadItem) -> list[Message]:
    match item:
        case AssistantMessageItem():
            text = "\n\n".join(part.text for part in item.content if part.text)
            return [Message("assistant", text)] if text else []
        case UserMessageItem():
            return [Message("user", _user_text(item), tuple(item.attachments))]
        case _:
            note = _note(item)
            return [Message("user", note)] if note else []


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
            if exchange := recalled(content):
                return _told(exchange)
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


def _told(exchange: ToolExchange) -> str:
    outputs = {result.call_id: result.output for result in exchange.results}
    return "\n".join(
        f"[The assistant used {call.name}({call.arguments}): {outputs.get(call.call_id, '')}]"
        for call in exchange.calls
    )


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
