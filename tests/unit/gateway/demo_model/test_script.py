"""The grammar of scripted models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bobbin_gateway.demo_model.script import BadScript, Script, parse_script


def test_without_options_a_script_is_a_good_answer() -> None:
    """`script:` streams twenty deltas of four characters."""
    pieces = parse_script("").pieces(None)
    assert [len(piece) for piece in pieces] == [4] * 20


def test_options_are_read_as_in_a_url() -> None:
    """Escapes, numbers and flags come out as meant."""
    script = parse_script("text=a%26b%20c&size=3&delay_ms=2.5&refusal=1&status=429&retry_after=0.5")
    assert script == Script(text="a&b c", size=3, delay_ms=2.5, refusal=True, status=429, retry_after=0.5)
    assert script.pieces(None) == ["a&b", " c"]


@pytest.mark.parametrize(
    "query",
    [
        "delta=3",
        "deltas=many",
        "deltas=-1",
        "size=0",
        "status=200",
        "incomplete=tired",
        "delay_ms=-1",
        "garbage=0",
        "refusal=perhaps",
        "cut_after=1&stall_after=2",
        "calls=add",
        "calls=[1]",
        "calls=[{}]",
    ],
)
def test_a_mistake_is_named(query: str) -> None:
    """A test with a mistyped option does not pass by accident."""
    with pytest.raises(BadScript):
        parse_script(query)


def test_a_said_text_is_used_only_without_a_scripted_one() -> None:
    """`say:` overrides made-up text, `text=` overrides both."""
    assert parse_script("size=2").pieces("abc") == ["ab", "c"]
    assert parse_script("size=2&text=xyz").pieces("abc") == ["xy", "z"]
    assert parse_script("text=").pieces("abc") == []


@given(st.integers(0, 200), st.integers(1, 20), st.integers())
def test_a_made_up_text_has_the_asked_form_and_can_be_repeated(deltas: int, size: int, seed: int) -> None:
    """So many deltas of so many characters, the same for the same seed."""
    script = Script(deltas=deltas, size=size, seed=seed)
    pieces = script.pieces(None)
    assert [len(piece) for piece in pieces] == [size] * deltas
    assert pieces == script.pieces(None)


def test_another_seed_gives_another_text() -> None:
    """Tests that must tell two answers apart can."""
    assert parse_script("seed=1").pieces(None) != parse_script("seed=2").pieces(None)
