"""Charts (reference: ``widgets.py``, ``Chart``). Fields bear the names of the wire."""
# ruff: noqa: N815 (fields bear the names of the wire)

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from bobbin_protocol.widgets.component import WidgetComponentBase
from bobbin_protocol.widgets.values import Color, Length, Measure
from bobbin_protocol.wire import Wire

CurveType: TypeAlias = Literal[
    "basis",
    "basisClosed",
    "basisOpen",
    "bumpX",
    "bumpY",
    "bump",
    "linear",
    "linearClosed",
    "natural",
    "monotoneX",
    "monotoneY",
    "monotone",
    "step",
    "stepBefore",
    "stepAfter",
]


class XAxisConfig(Wire):
    dataKey: str
    """The field of a row with its place on the axis."""
    hide: bool | None = None
    labels: dict[str, str] | None = None
    """What to write instead of a value."""


class BarSeries(Wire, tag="bar"):
    label: str | None = None
    dataKey: str
    """The field of a row with its number."""
    stack: str | None = None
    """Series of the same stack stand on each other."""
    color: Color | None = None


class AreaSeries(Wire, tag="area"):
    label: str | None = None
    dataKey: str
    """The field of a row with its number."""
    stack: str | None = None
    """Series of the same stack stand on each other."""
    color: Color | None = None
    curveType: CurveType | None = None


class LineSeries(Wire, tag="line"):
    label: str | None = None
    dataKey: str
    """The field of a row with its number."""
    color: Color | None = None
    curveType: CurveType | None = None


Series: TypeAlias = BarSeries | AreaSeries | LineSeries


class Chart(WidgetComponentBase, tag="Chart"):
    data: Sequence[Mapping[str, str | int | float]]
    """The rows."""
    series: Sequence[Series]
    xAxis: str | XAxisConfig
    """The field of a row with its place on the axis, or more."""
    showYAxis: bool | None = None
    showLegend: bool | None = None
    showTooltip: bool | None = None
    barGap: int | None = None
    """Between the bars of one place, in pixels."""
    barCategoryGap: int | None = None
    """Between the bars of two places, in pixels."""
    flex: Length | None = None
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
    aspectRatio: Measure | None = None
