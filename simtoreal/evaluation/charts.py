"""Geometry of the report's line charts, in SVG user units; the template draws it, so that text stays escaped there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 12, 42
NUM_TICKS = 5
MAX_POINTS = 400  # what a screen can show of one curve


@dataclass(frozen=True)
class Curve:
    """One line of a plot; `low` and `high` (same length) shade a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.x, self.y, self.low, self.high)]
        num = lengths[0]
        if lengths not in ([num, num, num, num], [num, num, 0, 0]):
            raise ValueError(f"curve {self.name!r}: x, y, low and high must have one length, got {lengths}")

    @property
    def has_band(self) -> bool:
        """Whether the curve has a shaded band; its columns may be lists or arrays."""
        return len(self.low) > 0


@dataclass(frozen=True)
class CurvePlot:
    """Curves over one pair of axes; labels carry their units, such as "distance to the object (m)"."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    note: str = ""
    from_zero: bool = True  # errors, losses and success rates are read against zero


class Tick(NamedTuple):
    """A mark on an axis: where, in user units, and what is written there."""

    at: float
    text: str


class Line(NamedTuple):
    """A curve in user units, as the `points` attributes of SVG elements."""

    name: str
    points: str
    band: str
    dots: list[tuple[float, float]]


class LineChart(NamedTuple):
    """Everything the template needs to draw one plot."""

    plot: CurvePlot
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


class Axis(NamedTuple):
    """Maps values from `low`..`high` to user units `start`..`end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """User units of a value, to a tenth."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """Marks at round values."""
        step = nice_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.place(i * step), number(i * step)) for i in range(first, last + 1)]


def line_chart(plot: CurvePlot) -> LineChart | None:
    """Lays a plot out; points that are not finite are left out, and None is returned where nothing is left."""
    curves = [_finite(curve) for curve in plot.curves]
    x_all = [value for curve in curves for value in curve.x]
    y_all = [value for curve in curves for value in (*curve.y, *curve.low, *curve.high)]
    if not x_all:
        return None
    x_axis = Axis(*_span(x_all, False), LEFT, WIDTH - RIGHT)
    y_axis = Axis(*_span(y_all, plot.from_zero), HEIGHT - BOTTOM, TOP)
    lines = [_line(curve, x_axis, y_axis) for curve in curves if len(curve.x)]
    return LineChart(plot, lines, x_axis.ticks(), y_axis.ticks())


def nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts a span into about `NUM_TICKS` parts.

    >>> nice_step(100.0), nice_step(0.37)
    (20.0, 0.05)
    """
    rough = span / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return float(min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(factor * power - rough)) * power)


def number(value: float) -> str:
    """A number as people write it on an axis.

    >>> number(0.30000000000000004), number(20000.0), number(2500000.0)
    ('0.3', '20k', '2.5M')
    """
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and sign == "M"):
            return f"{value / size:g}{sign}"
    return f"{value:.6g}"


def _finite(curve: Curve) -> Curve:
    low, high = (curve.low, curve.high) if curve.has_band else (curve.y, curve.y)
    columns = list(zip(curve.x, curve.y, low, high, strict=True))
    kept = [row for row in columns if all(math.isfinite(value) for value in row)]
    stride = max(1, math.ceil(len(kept) / MAX_POINTS))
    thinned = kept[::stride] + (kept[-1:] if kept and (len(kept) - 1) % stride else [])
    x, y, below, above = ([float(row[i]) for row in thinned] for i in range(4))
    return Curve(curve.name, x, y, below, above) if curve.has_band else Curve(curve.name, x, y)


def _span(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    margin = 0.04 * (high - low) if from_zero else 0.0
    return low - (margin if low < 0 else 0.0), high + margin


def _line(curve: Curve, x_axis: Axis, y_axis: Axis) -> Line:
    dots = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    band = ""
    if curve.has_band:
        lower = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(curve.x, curve.low, strict=True)]
        upper = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(curve.x, curve.high, strict=True)]
        band = _points(lower + upper[::-1])
    return Line(curve.name, _points(dots), band, dots if len(dots) <= 20 else [])


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in pairs)
