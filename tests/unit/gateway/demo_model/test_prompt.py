"""What an answer depends on, found in requests of both dialects."""

from __future__ import annotations

import json

import msgspec
import pytest

from bobbin_gateway.demo_model.prompt import decode_request

RESPONSES = {
    "model": "demo",
    "instructions": "Be kind.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "One"}, {"type": "input_image"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Two"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "say: three "},
    ],
}
CHAT = {
    "model": "demo",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "One"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "say: three "},
    ],
}


@pytest.mark.parametrize("body", [RESPONSES, CHAT], ids=["responses", "chat"])
def test_both_dialects_are_understood(body: dict[str, object]) -> None:
    """User messages, instructions and an order to say something are found wherever the dialect puts them."""
    request = decode_request(json.dumps(body))
    assert request.questions == ["One", "say: three "]
    assert request.system.split("\n") in (["Be kind.", "Be brief."], ["", "Be kind.", "Be brief."])
    assert request.said == " three "


def test_a_plain_input_is_a_user_message() -> None:
    """Responses allows a string instead of a list."""
    request = decode_request(b'{"model":"demo","input":"Hi"}')
    assert request.questions == ["Hi"]
    assert request.said is None


def test_only_the_last_message_says() -> None:
    """An earlier `say:` is history."""
    messages = '[{"role":"user","content":"say:x"},{"role":"user","content":"y"}]'
    assert decode_request(f'{{"model":"demo","messages":{messages}}}').said is None


def test_a_longer_prompt_has_more_tokens() -> None:
    """The usage that is reported follows the input."""
    short, long = (decode_request(json.dumps({"model": "m", "input": "x" * length})) for length in (1, 4000))
    assert short.tokens == 1
    assert long.tokens == 1001


def test_a_request_without_model_is_refused() -> None:
    """As the real API does."""
    with pytest.raises(msgspec.ValidationError, match="model"):
        decode_request(b'{"input":"Hi"}')


def _asked(dialect: str, *rounds: list[str]) -> dict[str, object]:
    """A question, and what tools gave in each round since."""
    items: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]
    for outputs in rounds:
        if dialect == "responses":
            items += [
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"} for _ in outputs
            ]
            items += [{"type": "function_call_output", "call_id": "c", "output": out} for out in outputs]
        else:
            items.append({"role": "assistant", "content": None, "tool_calls": []})
            items += [{"role": "tool", "tool_call_id": "c", "content": out} for out in outputs]
    return {"model": "m", "input" if dialect == "responses" else "messages": items}


@pytest.mark.parametrize("dialect", ["responses", "chat"])
def test_what_tools_gave_since_the_question_is_known_round_by_round(dialect: str) -> None:
    request = decode_request(json.dumps(_asked(dialect, ["a", "b"], ["c"])).encode())
    assert request.results == [["a", "b"], ["c"]]
    assert request.questions == ["Hi"]
    assert decode_request(json.dumps(_asked(dialect)).encode()).results == []
