"""The board in pictures, and what is said where it is not there."""

import cv2
import numpy as np
import pytest
from board_sessions import SPEC, facing, picture, project

from simtoreal import frames
from simtoreal.calibration.board import board_fields, page_png, page_svg
from simtoreal.calibration.detection import BoardDetector, BoardView, determines_pose, without_strays
from simtoreal.calibration.errors import CalibrationError
from simtoreal.camera_record import BoardSpec


def test_corners_are_found_where_they_are():
    view = BoardDetector(SPEC).find(picture(facing()), "a")
    assert view is not None
    assert len(view.ids) == SPEC.num_corners
    truth = project(frames.apply(facing(), view.points_m))
    assert np.sqrt(np.mean((view.corners_px - truth) ** 2)) < 0.15


def test_reasons_for_an_unseen_board():
    detector, seen = BoardDetector(SPEC), picture(facing())
    assert "mirrored" in detector.explain(np.ascontiguousarray(seen[:, ::-1]))
    assert "it is dark" in detector.explain(np.zeros_like(seen))
    other = BoardDetector(BoardSpec(dictionary="DICT_5X5_50"))
    assert "board.dictionary=DICT_4X4" in other.explain(seen)


def test_a_larger_board_of_the_same_markers_is_noticed():
    larger = BoardSpec(9, 7, 0.03, 0.022)
    detector = BoardDetector(SPEC)
    shown = picture(frames.transform((0.0, 0.0, 0.45)) @ frames.transform((-0.135, -0.105, 0.0)), larger)
    assert detector.largest_marker(shown) >= 17
    assert "squares_x" in detector.explain(shown)


def test_impossible_boards_are_refused():
    with pytest.raises(CalibrationError, match="DICT_4X4_50 has 50 markers"):
        BoardDetector(BoardSpec(20, 20))
    with pytest.raises(CalibrationError, match="is not a choice"):
        BoardDetector(BoardSpec(dictionary="DICT_9X9"))
    with pytest.raises(ValueError, match="markers lie in squares"):
        BoardSpec(square_m=0.02)


def test_the_page_is_to_scale_and_the_same_as_opencv_draws():
    data = page_png(SPEC, 0.01, 254)  # 10 pixels per millimetre
    at = data.index(b"pHYs")
    assert int.from_bytes(data[at + 4 : at + 8], "big") == 10_000  # per metre
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert drawn.shape == (1700, 2300)
    view = BoardDetector(SPEC).find(cv2.cvtColor(drawn, cv2.COLOR_GRAY2RGB))
    assert view is not None
    np.testing.assert_allclose(view.corners_px, (view.points_m[:, :2] + 0.01) * 10_000 - 0.5, atol=0.6)
    assert 'width="230mm" height="170mm"' in page_svg(SPEC, 0.01)


def test_fields_cover_the_board_once():
    area = sum((f.high_m[0] - f.low_m[0]) * (f.high_m[1] - f.low_m[1]) for f in board_fields(SPEC, 0.01))
    assert area == pytest.approx(0.23 * 0.17)


@pytest.mark.parametrize(
    ("corners", "spans"),
    [
        ([(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1)], False),  # determines no homography
        ([(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (1, 0)], False),
        ([(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1)], True),
    ],
)
def test_a_row_of_corners_and_one_beside_it_determine_no_pose(corners: list[tuple[int, int]], spans: bool):
    points = np.column_stack([0.03 * np.array(corners, dtype=float), np.zeros(len(corners))])
    assert determines_pose(points, 0.03) is spans


@pytest.mark.parametrize(
    ("corners", "left"),
    [
        ([(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1)], 6),
        ([(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1), (1, 1)], 7),  # without the last, a row and one beside it
    ],
)
def test_a_stray_corner_is_kept_where_the_rest_determines_no_pose(corners: list[tuple[int, int]], left: int):
    points = np.column_stack([0.03 * np.array(corners, dtype=float), np.zeros(7)])
    residuals = np.full((7, 2), 0.05)
    residuals[-1] = 3.0
    (kept,) = without_strays([BoardView("a", np.zeros((7, 2)), points, np.arange(7))], [residuals])
    assert len(kept.ids) == left
