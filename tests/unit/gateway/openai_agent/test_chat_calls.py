"""Calls in pieces of any kind are put together to the same calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.openai_agent.samples import hear, sse

Call = tuple[str, str]
"""Name and arguments."""

values = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=12), max_size=3)
calls = st.lists(
    st.tuples(st.sampled_from(["add", "multiply", "get_weather"]), values.map(json.dumps)),
    min_size=1,
    max_size=4,
)


def heard_calls(chunks: list[list[dict[str, Any]]]) -> list[Call]:
    """What is understood of chunks of pieces."""
    payloads: list[dict[str, Any] | str] = [
        {"choices": [{"index": 0, "delta": {"tool_calls": pieces}}]} for pieces in chunks
    ]
    heard, answer = hear("chat", [sse(*payloads, "[DONE]")])
    assert heard.failure is None, heard.failure.detail
    ids = [call.call_id for call in answer.calls]
    assert all(ids)
    assert len(ids) == len(set(ids))
    return [(call.name, call.arguments) for call in answer.calls]


def split(text: str, data: st.DataObject) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def interleaved(streams: list[list[dict[str, Any]]], data: st.DataObject) -> list[list[dict[str, Any]]]:
    """The pieces of all calls in one order, cut into chunks."""
    chunks: list[list[dict[str, Any]]] = [[]]
    order = [place for place, stream in enumerate(streams) for _ in stream]
    order = data.draw(st.permutations(order))
    waiting = [iter(stream) for stream in streams]
    for place in order:
        if data.draw(st.booleans()):
            chunks.append([])
        chunks[-1].append(next(waiting[place]))
    return [chunk for chunk in chunks if chunk]


@given(calls, st.data())
def test_pieces_with_an_index_make_the_same_calls_however_they_are_cut(
    asked: list[Call], data: st.DataObject
) -> None:
    """Ids and names come once, or with every piece, or the name in two pieces, as servers do it."""
    repeats_id, repeats_name, has_ids = (data.draw(st.booleans()) for _ in range(3))
    streams: list[list[dict[str, Any]]] = []
    for index, (name, arguments) in enumerate(asked):
        names = [name] if repeats_name else [part for part in split(name, data) if part]
        if len(names) > 1 and len(set(names)) < len(names):
            names = [name]
        pieces: list[dict[str, Any]] = [{"index": index, "function": {"name": part}} for part in names]
        if has_ids:
            pieces[0]["id"] = f"call_{index}"
        for part in split(arguments, data):
            piece: dict[str, Any] = {"index": index, "function": {"arguments": part}}
            if repeats_name and has_ids:
                piece["function"]["name"] = name
            if repeats_id and has_ids:
                piece["id"] = f"call_{index}"
            pieces.append(piece)
        streams.append(pieces)
    heard = heard_calls(interleaved(streams, data))
    assert sorted(heard) == sorted(asked)


@given(calls, st.data())
def test_pieces_with_ids_alone_make_the_same_calls(asked: list[Call], data: st.DataObject) -> None:
    streams: list[list[dict[str, Any]]] = []
    for place, (name, arguments) in enumerate(asked):
        first, *rest = split(arguments, data)
        pieces: list[dict[str, Any]] = [{"id": f"c{place}", "function": {"name": name, "arguments": first}}]
        pieces += [{"id": f"c{place}", "function": {"arguments": part}} for part in rest]
        streams.append(pieces)
    assert sorted(heard_calls(interleaved(streams, data))) == sorted(asked)


@given(calls, st.data(), st.booleans(), st.sampled_from([None, "same", "own"]))
def test_whole_calls_are_kept_apart_without_numbers_or_ids(
    asked: list[Call], data: st.DataObject, zero: bool, ids: str | None
) -> None:
    """Index missing or always 0; ids missing, all the same or right (Gemini, Mistral)."""
    if ids == "same":
        asked = list(dict.fromkeys(asked))
    streams: list[list[dict[str, Any]]] = []
    for place, (name, arguments) in enumerate(asked):
        piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
        if zero:
            piece["index"] = 0
        if ids is not None:
            piece["id"] = "call" if ids == "same" else f"call_{place}"
        streams.append([piece])
    assert sorted(heard_calls(interleaved(streams, data))) == sorted(asked)


def piece(index: int | None = None, **fields: Any) -> dict[str, Any]:
    function = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    return {**({} if index is None else {"index": index}), "function": function, **fields}


@pytest.mark.parametrize(
    ("chunks", "made"),
    [
        # Arguments that are an object.
        ([[piece(0, name="f", arguments={"a": 1})]], [("f", '{"a":1}')]),
        # None at all.
        ([[piece(0, name="f")]], [("f", "{}")]),
        ([[piece(0, name="f", arguments=None)], [piece(0, arguments="")]], [("f", "{}")]),
        # A new id with every piece.
        ([[piece(0, id="a", name="f", arguments="{")], [piece(0, id="b", arguments="}")]], [("f", "{}")]),
        ([[piece(id="a", name="f", arguments="{")], [piece(id="b", arguments="}")]], [("f", "{}")]),
        # The whole call again at the end.
        ([[piece(0, id="a", name="f", arguments='{"a":1}')]] * 2, [("f", '{"a":1}')]),
        # Names without arguments, one after the other.
        ([[piece(name="f")], [piece(name="f")]], [("f", "{}"), ("f", "{}")]),
        ([[piece(0, id="a", name="f")], [piece(0, id="b", name="f")]], [("f", "{}"), ("f", "{}")]),
        # Pieces by their place in the list.
        (
            [[piece(name="f", arguments="{"), piece(name="g", arguments="{")], [piece(arguments="}")] * 2],
            [("f", "{}"), ("g", "{}")],
        ),
        # No function, no name.
        ([[{"index": 0, "id": "a"}], [piece(0, name="f", arguments="{}")]], [("f", "{}")]),
        ([[{"index": 0, "function": None}]], [("", "{}")]),
    ],
)
def test_the_habits_of_servers_make_no_difference(
    chunks: list[list[dict[str, Any]]], made: list[Call]
) -> None:
    assert heard_calls(chunks) == made
