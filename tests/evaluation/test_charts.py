"""Line charts: values land where axes say, and what cannot be drawn is left out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.evaluation.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, CurvePlot, line_chart, nice_step

finite = st.floats(-1e9, 1e9, allow_nan=False)


def make_plot(*curves: Curve, from_zero: bool = True) -> CurvePlot:
    return CurvePlot("error", "distance (m)", "error (mm)", curves, from_zero=from_zero)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30), st.booleans())
def test_everything_lies_inside_the_axes(points: list[tuple[float, float]], from_zero: bool) -> None:
    chart = line_chart(make_plot(Curve("c", [x for x, _ in points], [y for _, y in points]), from_zero=from_zero))
    assert chart is not None
    for pair in chart.lines[0].points.split():
        x, y = (float(value) for value in pair.split(","))
        assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1
    assert all(TOP - 0.1 <= tick.at <= HEIGHT - BOTTOM + 0.1 for tick in chart.y_ticks)
    assert 1 <= len(chart.x_ticks) <= 12


def test_values_land_where_the_ticks_say() -> None:
    chart = line_chart(make_plot(Curve("c", [0.0, 10.0, 20.0], [0.0, 50.0, 100.0])))
    assert chart is not None
    at = {tick.text: tick.at for tick in chart.x_ticks}
    assert chart.lines[0].dots[1][0] == at["10"]
    height = {tick.text: tick.at for tick in chart.y_ticks}
    assert chart.lines[0].dots[2][1] == height["100"]
    assert height["0"] == HEIGHT - BOTTOM


def test_values_that_are_not_finite_are_left_out() -> None:
    chart = line_chart(make_plot(Curve("c", [0, 1, 2], [1.0, math.nan, 3.0]), Curve("gone", [0.0], [math.inf])))
    assert chart is not None
    assert [line.name for line in chart.lines] == ["c"]
    assert len(chart.lines[0].dots) == 2
    assert line_chart(make_plot(Curve("gone", [0.0], [math.inf]))) is None
    assert line_chart(make_plot()) is None


def test_long_curves_are_thinned_but_keep_their_last_point() -> None:
    x = np.arange(10_001.0)
    chart = line_chart(make_plot(Curve("c", x, x)))
    assert chart is not None
    points = chart.lines[0].points.split()
    assert len(points) <= 402
    assert points[-1].startswith(f"{WIDTH - RIGHT:.1f},")


def test_bands_enclose_their_curve() -> None:
    chart = line_chart(make_plot(Curve("c", np.array([0, 1]), np.array([2, 3]), np.array([1, 2]), np.array([4, 5]))))
    assert chart is not None
    assert len(chart.lines[0].band.split()) == 4


@pytest.mark.parametrize("columns", [([1], [1, 2]), ([1], [1], [1]), ([1], [1], [], [1]), ([1], [1], [1, 2], [1, 2])])
def test_columns_of_different_length_are_named(columns: tuple[list[float], ...]) -> None:
    with pytest.raises(ValueError, match="curve 'c': x, y, low and high must have one length"):
        Curve("c", *columns)


@given(st.floats(1e-6, 1e9))
def test_steps_are_round_and_give_a_readable_number_of_ticks(span: float) -> None:
    step = nice_step(span)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-6
    assert 2 <= span / step <= 11
