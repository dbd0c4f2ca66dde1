"""What a person sees who tries Bobbin without a model."""

from __future__ import annotations

import json

from bobbin_gateway.demo_model.demo import demo_pieces
from bobbin_gateway.demo_model.prompt import Request, decode_request


def _request(*questions: str, instructions: str = "You are helpful.") -> Request:
    messages = [{"role": "user", "content": question} for question in questions]
    return decode_request(json.dumps({"model": "demo", "instructions": instructions, "input": messages}))


def _answer(*questions: str) -> str:
    return "".join(demo_pieces(_request(*questions)))


def test_it_echoes_the_message() -> None:
    """The answer shows what was understood, and how to get a real model."""
    answer = _answer("Hello there")
    assert answer.startswith("You said: “Hello there”\n")
    assert "first message" in answer
    assert "OPENAI_API_KEY" in answer


def test_it_remembers() -> None:
    """Number and beginning of the history are recalled, so that memory can be seen to work."""
    assert "**one earlier message**" in _answer("My name is Ada", "What is my name?")
    answer = _answer("My name is Ada", "Ok", "What is my name?")
    assert "**2 earlier messages**" in answer
    assert "“My name is Ada”" in answer


def test_long_messages_are_quoted_in_part() -> None:
    """A novel is not sent back whole."""
    assert len(_answer("word " * 10_000)) < 1_000


def test_no_message_at_all_is_no_error() -> None:
    """Nor is an empty one."""
    assert _answer().startswith("You said nothing")
    assert _answer(" \n").startswith("You said nothing")


def test_it_says_what_it_is_told_word_by_word() -> None:
    """`say:` gives exactly the rest, white space included."""
    pieces = demo_pieces(_request("say:  one\n\ttwo  \n"))
    assert "".join(pieces) == "  one\n\ttwo  \n"
    assert len(pieces) == 3
    assert demo_pieces(_request("say:")) == []


def test_it_makes_titles() -> None:
    """Asked for a title it gives the first words of the first message, without the Markdown."""
    told = "Write a title for this conversation."
    title = demo_pieces(_request("## how do I *wind* a bobbin, please?", "later", instructions=told))
    assert "".join(title) == "How do I wind a"
    assert demo_pieces(_request("?!", instructions=told)) != []
