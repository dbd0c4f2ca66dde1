"""Components the user acts with (reference: ``widgets.py``). Fields bear the names of the wire."""
# ruff: noqa: N815 (fields bear the names of the wire)

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from bobbin_protocol.actions import ActionConfig
from bobbin_protocol.widgets.component import WidgetComponentBase
from bobbin_protocol.widgets.values import (
    Color,
    ControlSize,
    ControlVariant,
    Direction,
    GutterSize,
    TextAlign,
    TextSize,
    Weight,
    WidgetIcon,
)
from bobbin_protocol.wire import Wire


class Button(WidgetComponentBase, tag="Button"):
    submit: bool | None = None
    """Whether it submits the form around it."""
    label: str | None = None
    onClickAction: ActionConfig | None = None
    iconStart: WidgetIcon | None = None
    iconEnd: WidgetIcon | None = None
    style: Literal["primary", "secondary"] | None = None
    iconSize: Literal["sm", "md", "lg", "xl", "2xl"] | None = None
    color: (
        Literal["primary", "secondary", "info", "discovery", "success", "caution", "warning", "danger"] | None
    ) = None
    variant: ControlVariant | None = None
    size: ControlSize | None = None
    pill: bool | None = None
    uniform: bool | None = None
    """Whether it is as wide as high."""
    block: bool | None = None
    """Whether it takes the whole width."""
    disabled: bool | None = None


class SelectOption(Wire):
    value: str
    label: str
    disabled: bool | None = None
    description: str | None = None


class Select(WidgetComponentBase, tag="Select"):
    name: str
    options: Sequence[SelectOption]
    onChangeAction: ActionConfig | None = None
    placeholder: str | None = None
    defaultValue: str | None = None
    variant: ControlVariant | None = None
    size: ControlSize | None = None
    pill: bool | None = None
    block: bool | None = None
    """Whether it takes the whole width."""
    clearable: bool | None = None
    disabled: bool | None = None
    searchable: bool | None = None
    """By default where there are more than 15 options."""


class DatePicker(WidgetComponentBase, tag="DatePicker"):
    """Picks a date. Its times are the user's own and may have no zone; they are sent as given."""

    name: str
    onChangeAction: ActionConfig | None = None
    placeholder: str | None = None
    defaultValue: datetime | None = None
    min: datetime | None = None
    max: datetime | None = None
    variant: ControlVariant | None = None
    size: ControlSize | None = None
    side: Literal["top", "bottom", "left", "right"] | None = None
    align: Literal["start", "center", "end"] | None = None
    pill: bool | None = None
    block: bool | None = None
    """Whether it takes the whole width."""
    clearable: bool | None = None
    disabled: bool | None = None


class Checkbox(WidgetComponentBase, tag="Checkbox"):
    name: str
    label: str | None = None
    defaultChecked: bool | None = None
    onChangeAction: ActionConfig | None = None
    disabled: bool | None = None
    required: bool | None = None


class Input(WidgetComponentBase, tag="Input"):
    name: str
    inputType: Literal["number", "email", "text", "password", "tel", "url"] | None = None
    defaultValue: str | None = None
    required: bool | None = None
    pattern: str | None = None
    """A regular expression the value must match."""
    placeholder: str | None = None
    allowAutofillExtensions: bool | None = None
    """Whether password managers may fill it."""
    autoSelect: bool | None = None
    autoFocus: bool | None = None
    disabled: bool | None = None
    variant: Literal["soft", "outline"] | None = None
    size: ControlSize | None = None
    gutterSize: GutterSize | None = None
    pill: bool | None = None


class Label(WidgetComponentBase, tag="Label"):
    value: str
    fieldName: str
    """The name of the control it describes."""
    size: TextSize | None = None
    weight: Weight | None = None
    textAlign: TextAlign | None = None
    color: Color | None = None


class RadioOption(Wire):
    label: str
    value: str
    disabled: bool | None = None


class RadioGroup(WidgetComponentBase, tag="RadioGroup"):
    name: str
    options: Sequence[RadioOption] | None = None
    ariaLabel: str | None = None
    """The name when absent."""
    onChangeAction: ActionConfig | None = None
    defaultValue: str | None = None
    direction: Direction | None = None
    disabled: bool | None = None
    required: bool | None = None


class Textarea(WidgetComponentBase, tag="Textarea"):
    name: str
    defaultValue: str | None = None
    required: bool | None = None
    pattern: str | None = None
    """A regular expression the value must match."""
    placeholder: str | None = None
    autoSelect: bool | None = None
    autoFocus: bool | None = None
    disabled: bool | None = None
    variant: Literal["soft", "outline"] | None = None
    size: ControlSize | None = None
    gutterSize: GutterSize | None = None
    rows: int | None = None
    autoResize: bool | None = None
    maxRows: int | None = None
    allowAutofillExtensions: bool | None = None
    """Whether password managers may fill it."""
