"""The Responses dialect (platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_gateway.openai_agent.prompt import Prompt, responses_input, responses_tools
from bobbin_gateway.openai_agent.responses_reader import ResponsesReader, whole_text
from bobbin_protocol.wire import encode_json

_TITLE_TOKENS = 1024
"""Room for the thoughts of a reasoning model, too."""


class Responses:
    """Requests to ``/responses``, and what comes back.

    Nothing is kept at the provider (``store: false``): the thread store is the only memory, and each request
    carries its history. But a response in the background has to be kept until it has been read. ``store`` is
    left out there: it is true by default, as some servers demand, while OpenAI then keeps the response for
    about ten minutes only (developers.openai.com/api/docs/guides/background).
    """

    path = "/responses"

    def __init__(self, *, in_background: bool = False) -> None:
        self.in_background = in_background
        self._keeping = {"background": True} if in_background else {"store": False}

    def request(self, prompt: Prompt) -> bytes:
        return encode_json(
            {
                "model": prompt.model,
                "input": responses_input(prompt),
                "stream": True,
                **self._keeping,
                **({"instructions": prompt.instructions} if prompt.instructions else {}),
                **({"previous_response_id": prompt.goes_on_from} if prompt.goes_on_from else {}),
                **responses_tools(prompt),
                **prompt.options,
            }
        )

    def short_request(self, *, model: str, instructions: str, text: str) -> bytes:
        """A request for a short text, not streamed."""
        return encode_json(
            {
                "model": model,
                "input": text,
                "instructions": instructions,
                "max_output_tokens": _TITLE_TOKENS,
                "store": False,
            }
        )

    def short_text(self, body: bytes) -> str:
        """The text of a response that was not streamed.

        Raises:
            msgspec.DecodeError: The body is no such response.
        """
        return whole_text(body)

    def reader(self, answer: Answer) -> ResponsesReader:
        return ResponsesReader(answer)

    def adapt(self, refusal: str) -> bool:
        """Leave out of later requests what a provider refused; whether that was possible."""
        del refusal
        return False
