"""Rectangles in all their forms are one another, and the metric gives its known answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.episodes.grasp_rectangles import (
    GraspRectangle,
    agrees,
    angle_between_rad,
    from_corners,
    from_jacquard,
    from_label,
    iou,
    to_label,
)

extents = st.floats(2.0, 300.0)
rectangles = st.builds(
    GraspRectangle,
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.floats(-math.pi / 2, math.pi / 2, exclude_max=True),
    extents,
    extents,
)


@given(rectangles)
def test_corners_and_centre_say_the_same(rectangle: GraspRectangle) -> None:
    back = from_corners(rectangle.corners())
    np.testing.assert_allclose(back.center_px, rectangle.center_px, atol=1e-9)
    assert angle_between_rad(back, rectangle) < 1e-9
    assert (back.opening_px, back.jaw_px) == pytest.approx((rectangle.opening_px, rectangle.jaw_px))
    assert from_label(to_label(rectangle, "rgb")) == rectangle


@given(rectangles, rectangles)
def test_overlap_is_symmetric_and_within_bounds(a: GraspRectangle, b: GraspRectangle) -> None:
    assert iou(a, b) == pytest.approx(iou(b, a), abs=1e-3)
    assert 0.0 <= iou(a, b) <= 1.0
    assert iou(a, a) == pytest.approx(1.0, abs=1e-3)
    assert 0.0 <= angle_between_rad(a, b) <= math.pi / 2


def test_the_edge_from_the_first_to_the_second_corner_is_the_opening() -> None:
    rectangle = from_corners([[10, 20], [50, 20], [50, 30], [10, 30]])
    assert rectangle == GraspRectangle((30.0, 25.0), 0.0, 40.0, 10.0)
    turned = from_corners([[10, 20], [10, 60], [0, 60], [0, 20]])
    assert turned.opening_px == 40.0
    assert abs(turned.angle_rad) == pytest.approx(math.pi / 2)


def test_jacquard_counts_counterclockwise_as_one_sees_it() -> None:
    rectangle = from_jacquard("100.5;200;30;60;20\n")
    assert rectangle.center_px == (100.5, 200.0)
    assert (rectangle.opening_px, rectangle.jaw_px) == (60.0, 20.0)
    first, second = rectangle.corners()[:2]
    along = second - first
    assert along[0] > 0
    assert along[1] < 0  # up to the right: v grows downwards
    assert math.degrees(math.atan2(-along[1], along[0])) == pytest.approx(30.0)


def test_the_metric_has_its_known_answers() -> None:
    truth = GraspRectangle((100.0, 100.0), 0.0, 60.0, 20.0)
    assert iou(truth, truth._replace(center_px=(130.0, 100.0))) == pytest.approx(1 / 3, abs=1e-4)
    assert iou(truth, truth._replace(opening_px=30.0)) == pytest.approx(0.5, abs=1e-4)
    assert iou(truth, truth._replace(center_px=(500.0, 100.0))) == 0.0
    assert agrees(truth._replace(center_px=(130.0, 100.0)), [truth])
    assert not agrees(truth._replace(center_px=(140.0, 100.0)), [truth])  # 20 of 100
    assert agrees(truth._replace(angle_rad=math.radians(29.9)), [truth])
    assert not agrees(truth._replace(angle_rad=math.radians(30.1)), [truth])
    assert agrees(truth._replace(angle_rad=math.radians(-85.0)), [truth._replace(angle_rad=math.radians(85.0))])
    assert not agrees(truth, [])


@pytest.mark.parametrize(
    "corners", [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [1, 1], [0, math.nan]], [[0, 0], [0, 0], [1, 1], [1, 1]]]
)
def test_what_is_no_rectangle_is_refused(corners: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="rectangle"):
        from_corners(corners)


@pytest.mark.parametrize("line", ["1;2;3;4", "1;2;3;4;nan", "1;2;3;0;5", "a;b;c;d;e", ""])
def test_what_is_no_line_of_jacquard_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"x;y;theta|could not convert"):
        from_jacquard(line)


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(ValueError, match="not the label of a grasp rectangle"):
        from_label({"center_px": [1.0]})
