"""Which model a name means."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from bobbin_gateway.demo_model.model import Attempts, Model
from bobbin_gateway.demo_model.prompt import decode_request
from bobbin_gateway.demo_model.reply import Reply


def _reply(model: Model, name: str, *, stream: bool = True) -> Reply:
    body = json.dumps({"model": name, "input": "say:abcd", "stream": stream}).encode()
    return model.reply("/v1/responses", decode_request(body), body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of our own, beside a file that is not one of them."""
    for name in ("b", "a", "x?y"):
        (tmp_path / f"{name}.sse").write_bytes(b"data: 1\n\n")
    (tmp_path / "secret.txt").write_text("no")
    return tmp_path


def test_recordings_are_listed_by_name(folder: Path) -> None:
    """Beside the demo, which is always there."""
    assert Model(folder).names() == ["demo", "recording:a", "recording:b", "recording:x?y"]
    assert Model().names() == ["demo"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("recording:a", 200),
        ("recording:a?chunk=2&delay_ms=1", 200),
        ("recording:c", 404),
        ("recording:", 404),
        ("recording:secret.txt", 404),
        ("recording:../a", 404),
        ("recording:/etc/a", 404),
        ("recording:a?chunk=x", 400),
        ("recording:a?chunk=-1", 400),
        ("recording:a?delay_ms=-1", 400),
        ("recording:a?delay_ms=nan", 400),
        ("recording:a?speed=1", 400),
        ("script:speed=1", 400),
        ("script:", 200),
        ("demo", 200),
        ("gpt-6", 200),
        ("ollama:latest", 200),
    ],
)
def test_a_name_is_a_model_or_an_error(folder: Path, name: str, status: int) -> None:
    """Unknown names are the demo; what is meant as a recording or a script must be a good one."""
    assert _reply(Model(folder), name).status == status


def test_without_a_folder_there_are_no_recordings() -> None:
    """And the answer is the API's 404 of an unknown model."""
    answer = _reply(Model(), "recording:a")
    assert answer.status == 404
    assert json.loads(answer.writes[0][1])["error"]["code"] == "model_not_found"


def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    """Delays add up when nothing is streamed."""
    answer = _reply(Model(), "script:size=1&head_ms=1000&first_ms=2000&delay_ms=500", stream=False)
    assert answer.head_s == 1 + 2 + 3 * 0.5


def test_faults_of_streams_need_a_stream() -> None:
    """A cut makes no sense in a whole answer, so it is an error there."""
    assert _reply(Model(), "script:cut_after=1", stream=False).status == 500


def test_attempts_are_counted_by_body_and_forgotten_in_time() -> None:
    """Memory is bounded; the bodies seen last are remembered."""
    attempts = Attempts(limit=2)
    counts = [attempts.count(body) for body in (b"a", b"b", b"a", b"c", b"a", b"b")]
    assert counts == [1, 1, 2, 1, 3, 1]


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (0, ["function_call", "function_call"]),
        (1, ["message", "function_call"]),
        (2, ["message"]),
    ],
)
def test_a_script_asks_for_its_calls_round_by_round_and_then_speaks(done: int, said: list[str]) -> None:
    rounds = [[{"name": "a"}, {"name": "b", "arguments": {"x": 1}}], [{"name": "c", "arguments": "no JSON"}]]
    before = "&before=Wait" if done else ""
    items: list[dict[str, str]] = [{"role": "user", "content": "Hi"}]
    for number in range(done):
        items += [{"type": "function_call"}, {"type": "function_call_output", "output": str(number)}]
    body = json.dumps(
        {"model": f"script:text=Done&calls={quote(json.dumps(rounds))}{before}", "input": items}
    )
    request = decode_request(body.encode())
    [(_, whole)] = Model().reply("/v1/responses", request, body.encode()).writes
    output = json.loads(whole)["output"]
    assert [item["type"] for item in output] == said
    if done == 0:
        assert [(item["name"], item["arguments"]) for item in output] == [("a", "{}"), ("b", '{"x":1}')]
