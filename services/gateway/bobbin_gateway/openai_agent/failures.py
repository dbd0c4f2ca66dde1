"""What can go wrong with a model service, and what the user and the log are told of it.

The user reads one or two sentences of ours. The provider's words go into the turn's record only: they may
hold parts of keys, account names, prompts, or what the model has written. The log gets numbers and codes. A
retry is offered where the same request may well succeed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import httpx2
import openai
from msgspec import Struct

from bobbin_gateway.agent import AgentError
from bobbin_gateway.openai_agent.provider_errors import Facts, LogFacts, facts_of

_NO_FACTS: Final[LogFacts] = {}
_MAX_DETAIL = 2000
"""Characters of a provider's words that are kept."""


def from_exception(error: Exception) -> AgentError:
    """What a failed call of the openai package, or of the transport below it, means."""
    if isinstance(error, openai.APIStatusError):
        facts = facts_of(error.body, status=error.status_code, request_id=error.request_id or "")
        detail = (
            f"HTTP {error.status_code} ({error.request_id or 'no request id'}): {facts.message or error.body}"
        )
        known = _known(facts, detail, retry_after_s(error.response.headers))
        return known or _lasting(
            f"The model service could not use the request. {_TELL}",
            detail,
            kind="model_bad_request",
            facts=facts.logged(),
        )
    causes = list(_causes(error))
    detail = " < ".join(f"{type(cause).__name__}: {cause}" for cause in causes)
    facts = {"cause": " < ".join(map(_cause, causes))}
    if any(map(_is_unreachable, causes)):
        return _unreachable(detail, facts)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
        return _passing(
            "The model service did not answer in time. Please try again.",
            detail,
            kind="model_timeout",
            facts=facts,
        )
    if isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError | aiohttp.ClientPayloadError):
        return broken_off(detail, facts)
    return _unreachable(detail, facts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _cause(error: BaseException) -> str:
    """An exception for the log: by its type, with the words of the operating system, nobody else's."""
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__


def _is_unreachable(cause: BaseException) -> bool:
    """Whether there was no connection, or it closed before the answer; the package calls both a timeout."""
    return isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError)


TRANSPORT_ERRORS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    aiohttp.ClientError,
    TimeoutError,
)
"""What `from_exception` knows how to read."""


def from_stream(error: object) -> AgentError:
    """What an error object in the middle of a stream means; its shapes are many."""
    facts = facts_of(error, status=None)
    detail = f"error in the stream: {error!r}"
    known = _known(facts, detail)
    return known or _passing(
        "The model stopped with an error. Please try again.",
        detail,
        kind="model_stream_error",
        facts=facts.logged(),
    )


def _unreachable(detail: str, facts: LogFacts) -> AgentError:
    return _passing(
        "The model service can't be reached. Please try again in a moment.",
        detail,
        kind="model_unreachable",
        facts=facts,
    )


def broken_off(
    detail: str = "the stream ended before the answer did", facts: LogFacts = _NO_FACTS
) -> AgentError:
    return _passing(
        "The model's answer broke off. Please try again.", detail, kind="model_broken_off", facts=facts
    )


def unreadable(detail: str) -> AgentError:
    return _passing(
        "The model service sent something that can't be read. Please try again.",
        detail,
        kind="model_unreadable",
    )


def no_answer(cut_short: str | None) -> AgentError:
    """The model ended without a word for the user."""
    if cut_short == "length":
        text = "The model reached its length limit before it could answer. Please try again."
    elif cut_short == "content_filter":
        return _lasting(
            "The model service's content filter withheld the answer.",
            "no text: content filter",
            kind="model_content_filter",
        )
    else:
        text = "The model gave no answer. Please try again."
    return _passing(text, f"no text in the answer (cut short: {cut_short})", kind="model_no_answer")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a provider asks to wait (RFC 9110, 10.2.3: seconds or a date); None when it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


class _Meaning(Struct, frozen=True):
    """What providers' codes and HTTP statuses have in common, and what the user is told."""

    kind: str
    """In the metrics."""
    message: str
    allow_retry: bool
    codes: frozenset[str]
    statuses: frozenset[int] = frozenset()
    words: tuple[str, ...] = ()
    """Parts of messages, for providers without codes."""

    def covers(self, facts: Facts) -> bool:
        message = facts.message.lower()
        return (
            facts.code in self.codes
            or facts.status in self.statuses
            or any(words in message for words in self.words)
        )


_TELL = "Please tell whoever runs this chat."
_MEANINGS = (  # the first that covers the facts counts
    _Meaning(
        "model_no_credit",
        f"The account at the model service has no credit left. {_TELL}",
        allow_retry=False,
        codes=frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}),
        statuses=frozenset({402}),
    ),
    _Meaning(
        "model_busy",
        "The model service is busy. Please try again {wait}.",
        allow_retry=True,
        codes=frozenset({"rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"}),
        statuses=frozenset({429}),
    ),
    _Meaning(
        "model_too_long",
        "This conversation is too long for the model. Please start a new one.",
        allow_retry=False,
        codes=frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"}),
        statuses=frozenset({413}),
        words=("context length", "context window", "context_length", "prompt is too long"),
    ),
    _Meaning(
        "model_content_filter",
        "The model service's content filter refused this message.",
        allow_retry=False,
        codes=frozenset({"content_filter", "content_policy_violation", "responsible_ai_policy_violation"}),
    ),
    _Meaning(
        "model_not_found",
        f"The model is not available. {_TELL}",
        allow_retry=False,
        codes=frozenset({"model_not_found"}),
        statuses=frozenset({404}),
    ),
    _Meaning(
        "model_key_refused",
        f"The model service refuses this server's key. {_TELL}",
        allow_retry=False,
        codes=frozenset({"invalid_api_key"}),
        statuses=frozenset({401, 403}),
    ),
    _Meaning(
        "model_not_taken",
        "The model service could not take the request. Please try again.",
        allow_retry=True,
        codes=frozenset({"timeout", "conflict"}),
        statuses=frozenset({408, 409, 425}),
    ),
    _Meaning(
        "model_server_error",
        "The model service has a problem. Please try again in a moment.",
        allow_retry=True,
        codes=frozenset({"server_error", "internal_error", "internal_server_error", "overloaded_error"}),
        statuses=frozenset(range(500, 600)),
    ),
)


def _known(facts: Facts, detail: str, wait_s: float | None = None) -> AgentError | None:
    """What means the same whenever it comes, before or within a stream."""
    for meaning in _MEANINGS:
        if meaning.covers(facts):
            message = meaning.message.format(wait=_in(wait_s))
            return AgentError(
                message,
                allow_retry=meaning.allow_retry,
                detail=detail[:_MAX_DETAIL],
                kind=meaning.kind,
                facts=facts.logged(),
            )
    return None


def _in(wait_s: float | None) -> str:
    if not wait_s:
        return "in a moment"
    if wait_s < 90:  # noqa: PLR2004 (above, minutes read better)
        return f"in {math.ceil(wait_s)} seconds"
    return f"in {math.ceil(wait_s / 60)} minutes"


def _passing(message: str, detail: str, *, kind: str, facts: LogFacts = _NO_FACTS) -> AgentError:
    """A failure that may be gone at the next try."""
    return AgentError(message, allow_retry=True, detail=detail[:_MAX_DETAIL], kind=kind, facts=facts)


def _lasting(message: str, detail: str, *, kind: str, facts: LogFacts = _NO_FACTS) -> AgentError:
    """A failure that the same request meets again."""
    return AgentError(message, allow_retry=False, detail=detail[:_MAX_DETAIL], kind=kind, facts=facts)
