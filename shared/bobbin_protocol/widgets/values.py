"""Values that widgets share: sizes, colours, edges (reference: ``widgets.py``).

Numbers are pixels or units of the spacing scale (4 px) as the field says; strings are CSS or named tokens.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bobbin_protocol.icons import IconName
from bobbin_protocol.wire import Wire

RadiusValue: TypeAlias = Literal[
    "2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "full", "100%", "none"
]
TextAlign: TypeAlias = Literal["start", "center", "end"]
TextSize: TypeAlias = Literal["xs", "sm", "md", "lg", "xl"]
IconSize: TypeAlias = Literal["xs", "sm", "md", "lg", "xl", "2xl", "3xl"]
TitleSize: TypeAlias = Literal["sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "5xl"]
CaptionSize: TypeAlias = Literal["sm", "md", "lg"]
GutterSize: TypeAlias = Literal["2xs", "xs", "sm", "md", "lg", "xl"]
Weight: TypeAlias = Literal["normal", "medium", "semibold", "bold"]
Alignment: TypeAlias = Literal["start", "center", "end", "baseline", "stretch"]
Justification: TypeAlias = Literal["start", "center", "end", "between", "around", "evenly", "stretch"]
ControlVariant: TypeAlias = Literal["solid", "soft", "outline", "ghost"]
ControlSize: TypeAlias = Literal["3xs", "2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl"]
Theme: TypeAlias = Literal["light", "dark"]
Direction: TypeAlias = Literal["row", "col"]
WidgetIcon: TypeAlias = IconName


class ThemeColor(Wire):
    """A colour for each theme."""

    dark: str
    light: str


Color: TypeAlias = str | ThemeColor
"""A token such as ``danger``, a primitive such as ``blue-900``, a CSS colour, or one for each theme."""

Length: TypeAlias = int | str
"""Whole pixels (or spacing units, for gaps), or CSS."""

Measure: TypeAlias = float | str
"""Pixels (or spacing units, for padding and margin), or CSS."""


class Spacing(Wire):
    """Spacing of single edges, in spacing units or CSS."""

    top: Measure | None = None
    right: Measure | None = None
    bottom: Measure | None = None
    left: Measure | None = None
    x: Measure | None = None
    y: Measure | None = None


class Border(Wire):
    size: int
    """In pixels."""
    color: Color | None = None
    style: Literal["solid", "dashed", "dotted", "double", "groove", "ridge", "inset", "outset"] | None = None


class Borders(Wire):
    """Borders of single edges."""

    top: int | Border | None = None
    right: int | Border | None = None
    bottom: int | Border | None = None
    left: int | Border | None = None
    x: int | Border | None = None
    y: int | Border | None = None


if TYPE_CHECKING:
    AnyBorder: TypeAlias = int | Border | Borders
else:
    # Neither carries a tag, so msgspec can't tell them apart when decoding: their JSON object is kept.
    AnyBorder = int | dict[str, Any]


class MinMax(Wire):
    """Bounds, both inclusive. No component of the reference uses it yet."""

    min: int | None = None
    max: int | None = None


class WidgetStatus(Wire):
    """A line above a card or list. The reference has a type for either decoration; this is both."""

    text: str
    favicon: str | None = None
    """URL of a small image at its start."""
    frame: bool | None = None
    """Whether the favicon gets a frame."""
    icon: WidgetIcon | None = None
    """Shown at its start instead of a favicon."""
