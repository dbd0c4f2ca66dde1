"""What the recorded streams say, read as simply as can be: the judge of our agent, sharing no code with it.

Lines that start with `data:` are JSON; text deltas are put together by the rules of their dialect; nothing is
checked, nothing is repaired. `python -m tests.recordings_extract` writes `tests/recordings_expected.json`;
what it wrote was then compared with the recordings by eye.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import RECORDINGS

EXPECTED = Path(__file__).with_name("recordings_expected.json")


def extract(file: Path) -> dict[str, Any]:
    """What a client should understand of one recording."""
    payloads = list(_payloads(file.read_bytes()))
    told = _responses(payloads) if file.name.startswith("responses-") else _chat(payloads)
    text = told.pop("text").encode()
    return {
        "length": len(text.decode()),
        "sha256": hashlib.sha256(text).hexdigest(),
        "starts": text.decode()[:60],
        **told,
    }


def _payloads(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.decode().replace("\r\n", "\n").split("\n"):
        if line.startswith("data:"):
            payload = line.removeprefix("data:").strip()
            if payload == "[DONE]":
                return
            yield json.loads(payload)


def _responses(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Text and refusal deltas in the order they came; the last event says how it ended."""
    text = _joined(events, ("response.output_text.delta", "response.refusal.delta"))
    thought = _joined(events, ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"))
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    last = events[-1]
    usage = last["response"].get("usage") or {}
    ends = {
        "response.completed": "completed",
        "response.incomplete": "incomplete",
        "response.failed": "error",
    }
    return {
        "text": text,
        "refusal": any(event["type"] == "response.refusal.delta" for event in events),
        "messages": _count(items, "message"),
        "end": ends[last["type"]],
        "function_calls": _count(items, "function_call"),
        "reasoning": "text" if thought else "hidden" if _count(items, "reasoning") else "none",
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
    }


def _joined(events: list[dict[str, Any]], kinds: tuple[str, ...]) -> str:
    return "".join(event["delta"] for event in events if event["type"] in kinds)


def _count(items: list[dict[str, Any]], kind: str) -> int:
    return sum(item["type"] == kind for item in items)


def _chat(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Contents and refusals of the deltas; cumulative messages beside them (Perplexity) are copies."""
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    deltas = [choice.get("delta") or {} for choice in choices]
    contents = [_content(delta) for delta in deltas]
    text = "".join(
        text + (delta.get("refusal") or "") for (text, _), delta in zip(contents, deltas, strict=True)
    )
    thought = "".join(
        thought + (delta.get("reasoning_content") or delta.get("reasoning") or "")
        for (_, thought), delta in zip(contents, deltas, strict=True)
    )
    hidden = any(delta.get("reasoning_details") for delta in deltas)
    usage: dict[str, Any] = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), {})
    return {
        "text": text,
        "refusal": any(delta.get("refusal") for delta in deltas),
        "messages": 1 if text else 0,
        "end": _chat_end(chunks, choices),
        "function_calls": sum(
            _begins_call(call) for delta in deltas for call in delta.get("tool_calls") or []
        ),
        "reasoning": "text" if thought else "hidden" if hidden else "none",
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
    }


def _content(delta: dict[str, Any]) -> tuple[str, str]:
    """Text and thought of a delta's content, which Mistral sends as a list of parts at times."""
    content = delta.get("content") or ""
    if isinstance(content, str):
        return content, ""
    text = "".join(part["text"] for part in content if part["type"] == "text")
    thoughts = [part["thinking"] for part in content if part["type"] == "thinking"]
    return text, "".join(piece["text"] for thought in thoughts for piece in thought)


def _begins_call(call: dict[str, Any]) -> bool:
    """Only the first chunk of a tool call names the function."""
    return bool(call["function"].get("name"))


def _chat_end(chunks: list[dict[str, Any]], choices: list[dict[str, Any]]) -> str:
    """An error object anywhere is an error; no finish_reason at all (Snowflake) is a normal end."""
    if any("error" in chunk for chunk in chunks):
        return "error"
    reasons = {choice.get("finish_reason") for choice in choices}
    return "incomplete" if reasons & {"length", "content_filter"} else "completed"


def main() -> None:
    """Write the table of all recordings."""
    table = {file.stem: extract(file) for file in sorted(RECORDINGS.glob("*.sse"))}
    EXPECTED.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{len(table)} recordings\n")


if __name__ == "__main__":
    main()
