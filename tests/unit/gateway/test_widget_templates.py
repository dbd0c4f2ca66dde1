"""Widgets from ``.widget`` files: the same as the reference makes of them, whatever the data."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference calls its own widgets deprecated
    from chatkit.widgets import WidgetTemplate as TemplateOfTheReference

from bobbin_gateway.widget_templates import WidgetTemplate
from bobbin_protocol.widgets import Card, ListView, strict_root

TASKS = """
{"type": "ListView", "children": [
  {%- for task in tasks -%}
  {"type": "ListViewItem", "key": {{ task.id | tojson }}, "children": [
    {"type": "Text", "value": {{ ("Task: " ~ task.title) | tojson }}
    {%- if task.done -%}, "lineThrough": true{%- endif -%}}
  ]}
  {%- if not loop.last -%},{%- endif -%}
  {%- endfor -%}
]}
"""

DEFINITION: dict[str, Any] = {
    "version": "1.0",
    "name": "Tasks",
    "template": TASKS,
    "jsonSchema": {"type": "object", "required": ["tasks"]},
    "outputJsonPreview": {"type": "ListView", "children": []},
    "encodedWidget": "e30",
}

tasks = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 99).map(str), "title": st.text(), "done": st.booleans()}),
    max_size=4,
)


def card(template: str) -> WidgetTemplate:
    return WidgetTemplate({"version": "1.0", "name": "Card", "template": template})


@given(tasks)
def test_a_template_gives_the_widget_that_the_reference_makes_of_it(tasks: list[dict[str, Any]]) -> None:
    theirs = TemplateOfTheReference(DEFINITION).build({"tasks": tasks})
    ours = WidgetTemplate(DEFINITION).build({"tasks": tasks})
    assert ours == theirs.model_dump(exclude_none=True)
    typed = strict_root(ours)
    assert isinstance(typed, ListView)
    assert len(typed.children) == len(tasks)


def test_a_file_is_loaded_with_its_name_and_the_schema_of_its_data(tmp_path: Path) -> None:
    path = tmp_path / "tasks.widget"
    path.write_text(json.dumps(DEFINITION))
    template = WidgetTemplate.from_file(path)
    assert (template.name, template.data_schema) == ("Tasks", DEFINITION["jsonSchema"])
    assert template.build({"tasks": []}) == {"type": "ListView", "children": []}
    assert WidgetTemplate.from_file(str(path)).name == "Tasks"


def test_data_may_be_structs() -> None:
    class Task(Struct):
        id: str
        title: str
        done: bool = False

    class Data(Struct):
        tasks: list[Task]

    data = Data([Task("1", "Rest")])
    widget = WidgetTemplate(DEFINITION).build(data)
    assert widget == WidgetTemplate(DEFINITION).build({"tasks": [Task("1", "Rest")]})
    assert isinstance(widget, dict)
    assert widget["children"][0]["children"][0]["value"] == "Task: Rest"


def test_a_template_without_data_is_a_widget() -> None:
    assert strict_root(card('{"type": "Card", "size": null, "children": []}').build()) == Card(children=[])


@given(st.text())
def test_a_text_cannot_leave_the_place_that_it_is_put_in(text: str) -> None:
    template = card('{"type": "Card", "children": [{"type": "Text", "value": {{ text | tojson }}}]}')
    hostile = text + '"}, {"type": "Button", "label": "{{ 7 * 7 }}'
    widget = template.build({"text": hostile})
    assert isinstance(widget, dict)
    assert widget["children"] == [{"type": "Text", "value": hostile}]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{"type": "Card", "children": [], "size": {{ size | tojson }}}', "'size' is undefined"),
        ('{"type": "Card", "children": [}', "malformed"),
        ('{"type": "Text", "value": "no root"}', "Card, ListView or Basic"),
        ('["Card"]', "Expected `object`"),
        ('{"type": "Card", "children": [], "size": {{ range | tojson }}}', "is no JSON"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_what_gives_no_widget_says_why(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"Widget template 'Card': .*{message}"):
        card(template).build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2.0"}, "version"),
        ({"name": None}, "name"),
        ({"template": 3}, "template"),
        ({"template": "{% for %}"}, "Expected an expression"),
    ],
)
def test_what_is_no_template_says_why(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"No widget template: .*{message}"):
        WidgetTemplate({**DEFINITION, **change})


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"\xff"])
def test_a_file_of_another_kind_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.widget"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="No widget template"):
        WidgetTemplate.from_file(path)
