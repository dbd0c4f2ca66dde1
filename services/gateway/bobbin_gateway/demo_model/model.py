"""Chooses the reply to a request by the name of the model it asks for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import msgspec

from bobbin_gateway.demo_model import chat, reply, responses
from bobbin_gateway.demo_model.answer import Answer, Call
from bobbin_gateway.demo_model.demo import DELTA_S, demo_pieces
from bobbin_gateway.demo_model.prompt import Request
from bobbin_gateway.demo_model.reply import HTML, SSE, Reply
from bobbin_gateway.demo_model.script import BadScript, Script, ScriptedCall, parse_pace, parse_script
from bobbin_gateway.demo_model.tool_use import demo_call

DIALECTS: dict[str, ModuleType] = {"/v1/responses": responses, "/v1/chat/completions": chat}
"""What puts an answer into a dialect, by the path of its endpoint."""

_HTML_PAGE = b"<!doctype html><title>Gateway login</title><h1>Please log in</h1>"


class Model:
    """All models that the server offers."""

    def __init__(self, recordings: Path | None = None) -> None:
        self._recordings = recordings
        self._attempts = Attempts()

    def names(self) -> list[str]:
        """The names worth listing: the demo and the recordings."""
        files = sorted(self._recordings.glob("*.sse")) if self._recordings else []
        return ["demo", *(f"recording:{file.stem}" for file in files)]

    def reply(self, path: str, request: Request, body: bytes) -> Reply:
        """The reply to a request sent to one of DIALECTS; `body` is the request as it came."""
        kind, _, rest = request.model.partition(":")
        if _in_background(path, request) and request.store is False:
            return reply.error(400, "Background mode requires store=true.", "background_store_required")
        match kind:
            case "recording":
                recorded = self._recorded(rest)
                return reply.in_background(recorded, Script()) if _in_background(path, request) else recorded
            case "script":
                return self._scripted(path, request, rest, body)
            case _:
                return _demo(path, request)

    def _recorded(self, rest: str) -> Reply:
        name, _, query = rest.partition("?")
        file = self._recordings / f"{name}.sse" if self._recordings and Path(name).name == name else None
        if file is None or not file.is_file():
            return reply.error(404, f"There is no recording {name!r}.")
        try:
            pace = parse_pace(query)
        except BadScript as error:
            return reply.error(400, str(error))
        return Reply(
            content_type=SSE, writes=reply.chunked(file.read_bytes(), pace.chunk, pace.delay_ms / 1000)
        )

    def _scripted(self, path: str, request: Request, query: str, body: bytes) -> Reply:
        try:
            script = parse_script(query)
        except BadScript as error:
            return reply.error(400, str(error))
        status = script.status or (500 if script.fail_first else None)
        if status and not (script.fail_first and self._attempts.count(body) > script.fail_first):
            return reply.error(status, f"Scripted status {status}.", script.code, script.retry_after)
        if script.not_sse:
            return Reply(content_type=HTML, writes=[(0, _HTML_PAGE)])
        if script.empty:
            return Reply(content_type=SSE, writes=[(0, b"")])
        rounds, done = script.rounds(), len(request.results)
        if done < len(rounds):
            return _answered(path, request, script, script.cut(script.before), rounds[done])
        return _answered(path, request, script, script.pieces(request.said))


class Attempts:
    """How often each body was sent; only the bodies seen last are remembered."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def count(self, body: bytes) -> int:
        """Count one more attempt, and say how many there were."""
        key = blake2b(body, digest_size=16).digest()
        self._counts[key] = attempt = self._counts.pop(key, 0) + 1
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return attempt


def _demo(path: str, request: Request) -> Reply:
    script = Script(delay_ms=DELTA_S * 1000)
    if request.said is None and (call := demo_call(request)) is not None:
        return _answered(path, request, Script(size=16), [], [call])
    return _answered(path, request, script, demo_pieces(request))


def _in_background(path: str, request: Request) -> bool:
    return bool(request.background) and DIALECTS[path] is responses


def _answered(
    path: str, request: Request, script: Script, pieces: list[str], calls: Sequence[ScriptedCall] = ()
) -> Reply:
    dialect, background = DIALECTS[path], _in_background(path, request)
    answer = Answer(
        model=request.model,
        pieces=pieces,
        calls=[Call(f"call_{uuid4().hex}", call.name, script.cut(call.text)) for call in calls],
        input_tokens=request.tokens,
        includes_usage=request.includes_usage,
        refusal=script.refusal,
        background=background,
        parts=script.parts,
        incomplete=script.incomplete,
        fails_after=script.error_after,
        error_code=script.code or "server_error",
        error_shape=script.error_shape,
    )
    if background:
        whole = msgspec.structs.replace(script, cut_after=None)
        return reply.in_background(reply.scripted(responses.frames(answer), whole), script)
    if request.stream:
        return reply.scripted(dialect.frames(answer), script)
    if script.has_fault():
        return reply.error(500, "A scripted fault of a stream, asked for without one.", script.code)
    wait = (script.head_ms + script.first_ms + script.delay_ms * max(0, len(pieces) - 1)) / 1000
    return Reply(head_s=wait, writes=[(0, dialect.whole(answer))])
