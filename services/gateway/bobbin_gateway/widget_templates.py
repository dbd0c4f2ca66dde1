"""Widgets from ``.widget`` files, as ChatKit Studio exports them (reference: ``widgets.py``).

Needs ``jinja2``: ``pip install 'bobbin-gateway[templates]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from msgspec import Struct

from bobbin_protocol.widgets import WidgetRoot, check_root


def _no_json(value: object) -> NoReturn:
    """Say what is missing, where it is that; plain data has nothing else that is no JSON."""
    raise TypeError(f"{value} is no JSON")  # an undefined value raises by itself, and tells its name


_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _no_json}


class _Definition(Struct, rename="camel"):
    """A ``.widget`` file; what the studio needs for itself is left alone."""

    version: Literal["1.0"]
    name: str
    template: str
    json_schema: dict[str, Any] = {}


class WidgetTemplate:
    """A widget whose data is filled in each time: a Jinja template that gives the widget's JSON.

    In it data belongs into ``{{ name | tojson }}``, as the studio writes it: else a user's text could end the
    JSON string that it stands in, and go on with a component of its own.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        """Prepare a template from the JSON object of a ``.widget`` file.

        Raises:
            ValueError: It is no such file, or its template is broken.
        """
        try:
            known = msgspec.convert(definition, _Definition)
            self._template = _ENVIRONMENT.from_string(known.template)
        except (msgspec.ValidationError, TemplateError) as error:
            raise ValueError(f"No widget template: {error}") from error
        self.name = known.name
        self.data_schema = known.json_schema
        """JSON Schema of the data. Nothing is checked against it; data that is missing fails `build`."""

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> WidgetTemplate:
        """Load a ``.widget`` file. A relative path starts at the working directory, unlike in the reference.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no such file, or its template is broken.
        """
        try:
            definition = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ValueError(f"No widget template: {error}") from error
        return cls(definition)

    def build(self, data: Mapping[str, Any] | Struct | None = None) -> WidgetRoot:
        """The widget with this data filled in; structs in it become JSON objects.

        Raises:
            ValueError: Data is missing, or what comes out is no widget.
        """
        try:
            rendered = self._template.render(msgspec.to_builtins(data or {}))
            return check_root(msgspec.json.decode(rendered, type=dict[str, Any]))
        except (TemplateError, TypeError, ValueError) as error:
            raise ValueError(f"Widget template {self.name!r}: {error}") from error
