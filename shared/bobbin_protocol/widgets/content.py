"""Components that show something (reference: ``widgets.py``). Fields bear the names of the wire."""
# ruff: noqa: N815 (fields bear the names of the wire)

from typing import Literal

from bobbin_protocol.widgets.component import WidgetComponentBase
from bobbin_protocol.widgets.values import (
    CaptionSize,
    Color,
    IconSize,
    Length,
    Measure,
    RadiusValue,
    Spacing,
    TextAlign,
    TextSize,
    TitleSize,
    Weight,
    WidgetIcon,
)
from bobbin_protocol.wire import Wire


class Markdown(WidgetComponentBase, tag="Markdown"):
    value: str
    streaming: bool | None = None
    """Whether more text is on its way."""


class EditableProps(Wire):
    """Makes a text a field of the form around it."""

    name: str
    autoFocus: bool | None = None
    autoSelect: bool | None = None
    autoComplete: str | None = None
    """As the HTML attribute."""
    allowAutofillExtensions: bool | None = None
    """Whether password managers may fill it."""
    pattern: str | None = None
    """A regular expression the value must match."""
    placeholder: str | None = None
    required: bool | None = None


class Text(WidgetComponentBase, tag="Text"):
    value: str
    streaming: bool | None = None
    """Whether more text is on its way."""
    italic: bool | None = None
    lineThrough: bool | None = None
    color: Color | None = None
    weight: Weight | None = None
    width: Measure | None = None
    size: TextSize | None = None
    textAlign: TextAlign | None = None
    truncate: bool | None = None
    minLines: int | None = None
    """Room kept free, in lines."""
    maxLines: int | None = None
    editable: bool | EditableProps | None = None
    """False or the properties of the field; True means nothing."""


class Title(WidgetComponentBase, tag="Title"):
    value: str
    color: Color | None = None
    weight: Weight | None = None
    size: TitleSize | None = None
    textAlign: TextAlign | None = None
    truncate: bool | None = None
    maxLines: int | None = None


class Caption(WidgetComponentBase, tag="Caption"):
    value: str
    color: Color | None = None
    weight: Weight | None = None
    size: CaptionSize | None = None
    textAlign: TextAlign | None = None
    truncate: bool | None = None
    maxLines: int | None = None


class Badge(WidgetComponentBase, tag="Badge"):
    label: str
    color: Literal["secondary", "success", "danger", "warning", "info", "discovery"] | None = None
    variant: Literal["solid", "soft", "outline"] | None = None
    size: Literal["sm", "md", "lg"] | None = None
    pill: bool | None = None
    """Whether its ends are round."""


class Divider(WidgetComponentBase, tag="Divider"):
    color: Color | None = None
    size: Length | None = None
    """Thickness."""
    spacing: Length | None = None
    """Room above and below, in spacing units or CSS."""
    flush: bool | None = None
    """Whether it runs over the padding around it."""


class Icon(WidgetComponentBase, tag="Icon"):
    name: WidgetIcon
    color: Color | None = None
    size: IconSize | None = None


class Image(WidgetComponentBase, tag="Image"):
    src: str
    alt: str | None = None
    fit: Literal["cover", "contain", "fill", "scale-down", "none"] | None = None
    position: (
        Literal[
            "top left",
            "top",
            "top right",
            "left",
            "center",
            "right",
            "bottom left",
            "bottom",
            "bottom right",
        ]
        | None
    ) = None
    radius: RadiusValue | None = None
    frame: bool | None = None
    flush: bool | None = None
    """Whether it runs over the padding around it."""
    height: Length | None = None
    width: Length | None = None
    size: Length | None = None
    """Both height and width."""
    minHeight: Length | None = None
    minWidth: Length | None = None
    minSize: Length | None = None
    maxHeight: Length | None = None
    maxWidth: Length | None = None
    maxSize: Length | None = None
    margin: int | str | Spacing | None = None
    background: Color | None = None
    aspectRatio: Measure | None = None
    flex: Length | None = None


class Spacer(WidgetComponentBase, tag="Spacer"):
    """Takes the room that is left."""

    minSize: Length | None = None
