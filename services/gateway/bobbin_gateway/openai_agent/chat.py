"""The Chat Completions dialect (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from typing import Any

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.chat_reader import ChatReader, whole_text
from bobbin_gateway.openai_agent.prompt import Message, Prompt, chat_messages, chat_tools
from bobbin_protocol.wire import encode_json


class ChatCompletions:
    """Requests to ``/chat/completions``, and what comes back."""

    path = "/chat/completions"
    in_background = False

    def __init__(self) -> None:
        # Without it the tokens used stay unknown; a few servers refuse what they do not know.
        self._extra: dict[str, Any] = {"stream_options": {"include_usage": True}}

    def request(self, prompt: Prompt) -> bytes:
        return encode_json(
            {
                "model": prompt.model,
                "messages": chat_messages(prompt),
                "stream": True,
                **self._extra,
                **chat_tools(prompt),
                **prompt.options,
            }
        )

    def short_request(self, *, model: str, instructions: str, text: str) -> bytes:
        """A request for a short text, not streamed.

        Its length has no limit: the parameter's name differs between models, and the wrong one is an error.
        """
        prompt = Prompt(model=model, instructions=instructions, entries=[Message("user", text)])
        return encode_json({"model": model, "messages": chat_messages(prompt)})

    def short_text(self, body: bytes) -> str:
        """The text of a completion that was not streamed.

        Raises:
            msgspec.DecodeError: The body is no such completion.
        """
        return whole_text(body)

    def reader(self, answer: Answer) -> ChatReader:
        return ChatReader(answer)

    def adapt(self, refusal: str) -> bool:
        """Leave out of later requests what a provider refused; whether that was possible."""
        if "stream_options" not in refusal:
            return False
        self._extra = {}
        return True
