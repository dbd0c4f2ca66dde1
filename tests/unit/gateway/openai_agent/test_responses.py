"""The Responses dialect: what is asked."""

from __future__ import annotations

import msgspec

from bobbin_gateway.openai_agent.prompt import Message, Prompt
from bobbin_gateway.openai_agent.responses import Responses

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}


def test_the_request_carries_the_history_and_leaves_nothing_at_the_provider() -> None:
    body = Responses().request(
        Prompt(
            model="m",
            instructions="Be brief.",
            entries=[Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")],
        )
    )
    assert msgspec.json.decode(body) == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Bye"},
        ],
        "stream": True,
        "store": False,
    }


def test_in_the_background_a_response_may_be_kept_until_it_has_been_read() -> None:
    asked = msgspec.json.decode(Responses(in_background=True).request(Prompt(model="m", entries=[])))
    assert asked == {"model": "m", "input": [], "stream": True, "background": True}


def test_without_instructions_none_are_sent() -> None:
    body = Responses().request(Prompt(model="m", entries=[]))
    assert "instructions" not in msgspec.json.decode(body)


def test_an_answer_that_was_not_streamed_is_read_whole() -> None:
    body = {"output": [{"type": "reasoning", "summary": []}, MESSAGE], "status": "completed"}
    assert Responses().short_text(msgspec.json.encode(body)) == "Hello"
