"""Requests to a model in traces, by the semantic conventions for generative AI."""

from __future__ import annotations

import openai

from bobbin_gateway.openai_agent.answer import Answer
from bobbin_protocol.store.turns import Usage
from bobbin_telemetry import tracing


def asking(client: openai.AsyncOpenAI, model: str, operation: str = "chat") -> tracing.Span:
    """A request, from its first byte to the last of its answer; not the current span: generators hold it."""
    if not tracing.is_on():
        return tracing.NOTHING
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",  # by its API; whose it is, the address says
        "gen_ai.request.model": model,
        "server.address": client.base_url.host,
    }
    # Not named by the model, as the conventions have it: with MODELS=* a client may write anything there.
    return tracing.span(operation, attributes, "client", active=False)


def count_tokens(span: tracing.Span, answer: Answer, before: Usage | None) -> None:
    """Say what the provider counted in this round of an answer."""
    if not tracing.is_on() or answer.usage is None or answer.usage is before:
        return
    so_far = before or Usage()
    span.set(
        {
            "gen_ai.usage.input_tokens": answer.usage.input_tokens - so_far.input_tokens,
            "gen_ai.usage.output_tokens": answer.usage.output_tokens - so_far.output_tokens,
        }
    )
