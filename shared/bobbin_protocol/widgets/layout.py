"""Components that hold others, and the unions of all components (reference: ``widgets.py``).

Fields bear the names of the wire.
"""
# ruff: noqa: N815 (fields bear the names of the wire)

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bobbin_protocol.actions import ActionConfig
from bobbin_protocol.widgets.charts import Chart
from bobbin_protocol.widgets.component import WidgetComponentBase
from bobbin_protocol.widgets.content import (
    Badge,
    Caption,
    Divider,
    Icon,
    Image,
    Markdown,
    Spacer,
    Text,
    Title,
)
from bobbin_protocol.widgets.controls import (
    Button,
    Checkbox,
    DatePicker,
    Input,
    Label,
    RadioGroup,
    Select,
    Textarea,
)
from bobbin_protocol.widgets.values import (
    Alignment,
    AnyBorder,
    Color,
    Direction,
    Justification,
    Length,
    Measure,
    RadiusValue,
    Spacing,
    Theme,
    WidgetStatus,
)
from bobbin_protocol.wire import Wire


class BoxBase(WidgetComponentBase):
    """A flex container."""

    children: "Sequence[Child] | None" = None
    align: Alignment | None = None
    justify: Justification | None = None
    wrap: Literal["nowrap", "wrap", "wrap-reverse"] | None = None
    flex: Length | None = None
    gap: Length | None = None
    height: Measure | None = None
    width: Measure | None = None
    size: Measure | None = None
    """Both height and width."""
    minHeight: Length | None = None
    minWidth: Length | None = None
    minSize: Length | None = None
    maxHeight: Length | None = None
    maxWidth: Length | None = None
    maxSize: Length | None = None
    padding: float | str | Spacing | None = None
    margin: float | str | Spacing | None = None
    border: AnyBorder | None = None
    radius: RadiusValue | None = None
    background: Color | None = None
    aspectRatio: Measure | None = None


class Box(BoxBase, tag="Box"):
    direction: Direction | None = None


class Row(BoxBase, tag="Row"):
    pass


class Col(BoxBase, tag="Col"):
    pass


class Form(BoxBase, tag="Form"):
    onSubmitAction: ActionConfig | None = None
    direction: Direction | None = None


class ListViewItem(WidgetComponentBase, tag="ListViewItem"):
    children: "Sequence[Child]"
    onClickAction: ActionConfig | None = None
    gap: Length | None = None
    align: Alignment | None = None


class Transition(WidgetComponentBase, tag="Transition"):
    """Animates the changes of its child."""

    children: "Child | None" = None


class CardAction(Wire):
    label: str
    action: ActionConfig


class Card(WidgetComponentBase, tag="Card"):
    asForm: bool | None = None
    """Whether its buttons send what its controls hold."""
    children: "Sequence[Child]"
    background: Color | None = None
    size: Literal["sm", "md", "lg", "full"] | None = None
    padding: float | str | Spacing | None = None
    status: WidgetStatus | None = None
    collapsed: bool | None = None
    """Whether the body is folded away, once all is done."""
    confirm: CardAction | None = None
    cancel: CardAction | None = None
    theme: Theme | None = None


class ListView(WidgetComponentBase, tag="ListView"):
    children: Sequence[ListViewItem]
    limit: int | Literal["auto"] | None = None
    """How many to show before "Show more"."""
    status: WidgetStatus | None = None
    theme: Theme | None = None


class BasicRoot(WidgetComponentBase, tag="Basic"):
    """A root without a frame."""

    children: "Child | Sequence[Child] | None" = None


StrictWidgetComponent: TypeAlias = (
    Text
    | Title
    | Caption
    | Chart
    | Badge
    | Markdown
    | Box
    | Row
    | Col
    | Divider
    | Icon
    | Image
    | ListViewItem
    | Button
    | Checkbox
    | Spacer
    | Select
    | DatePicker
    | Form
    | Input
    | Label
    | RadioGroup
    | Textarea
    | Transition
)
"""The components that have a type here."""

StrictWidgetRoot: TypeAlias = Card | ListView | BasicRoot
"""The roots that have a type here."""

if TYPE_CHECKING:
    Child: TypeAlias = StrictWidgetComponent | dict[str, Any]
else:
    # Python code may put a component's JSON object anywhere; a strict decoder finds typed ones only.
    Child = StrictWidgetComponent
