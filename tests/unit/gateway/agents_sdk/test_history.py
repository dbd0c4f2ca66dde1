"""The thread as a run gets to see it."""

from __future__ import annotations

import base64
from typing import Any

from bobbin_gateway.agent import AgentError
from bobbin_gateway.agents_sdk import input_items
from bobbin_protocol.attachments import FileAttachment, ImageAttachment
from bobbin_protocol.items import ClientToolCallItem, HiddenContextItem, TaskItem, UserMessageItem
from bobbin_protocol.tasks import CustomTask
from tests.unit.gateway.openai_agent.samples import IDS, assistant, turn, user

PICTURE = ImageAttachment(id="atc_1", name="a.png", mime_type="image/png", preview_url="https://a.b/c")
REPORT = FileAttachment(id="atc_2", name="b.pdf", mime_type="application/pdf")
GONE = FileAttachment(id="atc_3", name="c.pdf", mime_type="application/pdf")


class Files:
    """Two files."""

    async def read(self, attachment_id: str) -> bytes:
        try:
            return {"atc_1": b"picture", "atc_2": b"report"}[attachment_id]
        except KeyError:
            raise AgentError("It is gone.", allow_retry=False) from None

    async def publish(self, data: bytes, mime_type: str) -> str:
        raise AssertionError("nothing is published")


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def test_messages_notes_and_calls_of_the_page() -> None:
    call = ClientToolCallItem(id="tc_1", call_id="c1", name="locate", arguments={"near": 1}, **IDS)
    done = ClientToolCallItem(
        id="tc_2", call_id="c2", name="locate", arguments={}, output=["Rome"], status="completed", **IDS
    )
    step = TaskItem(id="tsk_1", task=CustomTask(title="Look", content="up"), **IDS)
    hidden = HiddenContextItem(id="msg_h", content={"plan": "pro"}, **IDS)
    items: list[Any] = await input_items(turn(user("Hi"), call, done, step, hidden, assistant("Yes")))
    assert items == [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c2", "name": "locate", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": '["Rome"]'},
        {
            "role": "user",
            "content": (
                '[The user was shown this step: Look: up]\n\n[Context, not shown to the user: {"plan":"pro"}]'
            ),
        },
        {"role": "assistant", "content": "Yes"},
    ]


async def test_attachments_are_images_and_files_or_at_least_named() -> None:
    message: UserMessageItem = user("See", attachments=[PICTURE, REPORT, GONE])
    mine = turn(message)
    mine.files = Files()
    [item] = await input_items(mine)
    content: Any = item["content"]  # type: ignore[typeddict-item]
    assert "c.pdf" in content[0]["text"]
    assert content[1] == {"type": "input_image", "image_url": data_url("image/png", b"picture")}
    assert content[2] == {
        "type": "input_file",
        "filename": "b.pdf",
        "file_data": data_url("application/pdf", b"report"),
    }
    assert len(content) == 3


async def test_old_exchanges_are_left_out_when_there_is_no_room() -> None:
    history = [user("One"), assistant("Two"), user("Three")]
    assert await input_items(turn(*history), max_items=2) == [{"role": "user", "content": "Three"}]
