"""The Chat Completions dialect: what is asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bobbin_gateway.openai_agent.chat import ChatCompletions
from bobbin_gateway.openai_agent.prompt import Message, Prompt


def test_the_request_carries_instructions_and_history_and_asks_for_the_count_of_tokens() -> None:
    body = ChatCompletions().request(
        Prompt(
            model="m",
            instructions="Be brief.",
            entries=[Message("user", "Hi"), Message("assistant", "Hello")],
        )
    )
    assert msgspec.json.decode(body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_server_that_refuses_the_count_of_tokens_is_not_asked_again() -> None:
    chat = ChatCompletions()
    assert not chat.adapt("unknown model")
    assert chat.adapt("extra fields not permitted: stream_options")
    assert "stream_options" not in msgspec.json.decode(chat.request(Prompt(model="m", entries=[])))


@pytest.mark.parametrize(
    ("content", "text"),
    [("Hello", "Hello"), ([{"type": "text", "text": "Hello"}, {"type": "thinking"}], "Hello"), (None, "")],
)
def test_an_answer_that_was_not_streamed_is_read_whole(content: Any, text: str) -> None:
    body = {"choices": [{"index": 0, "message": {"content": content}}]}
    assert ChatCompletions().short_text(msgspec.json.encode(body)) == text
