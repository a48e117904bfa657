"""The lens: near the truth, honest, and refused where the pictures do not show it."""

import numpy as np
import pytest
from board_sessions import MODEL, lens_session

from simtoreal.calibration.coverage import coverage_picture
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.intrinsics import error_map_px, error_picture, fit_lens


def test_the_lens_is_found_and_its_uncertainty_is_true():
    surprises = []
    for seed in range(4):
        result = fit_lens(lens_session(seed), MODEL.width_px, MODEL.height_px)
        assert result.error_px == pytest.approx(0.15, rel=0.15)
        found = (result.model.fx, result.model.fy, result.model.cx, result.model.cy)
        error = np.array(found) - (MODEL.fx, MODEL.fy, MODEL.cx, MODEL.cy)
        assert np.abs(error).max() < 8.0
        surprises.append(error @ np.linalg.solve(result.covariance[:4, :4], error))
    assert 1.0 < np.mean(surprises) < 12.0  # 4 on average


def test_a_spoiled_view_and_a_stray_corner_are_left_out():
    views = lens_session(1)
    rng = np.random.default_rng(0)
    views[4] = views[4]._replace(corners_px=views[4].corners_px + rng.normal(0.0, 6.0, views[4].corners_px.shape))
    views[6].corners_px[0] += 3.0
    result = fit_lens(views, MODEL.width_px, MODEL.height_px)
    assert result.rejected == ("view_04",)
    kept = next(view for view in result.views if view.name == "view_06")
    assert views[6].ids[0] not in kept.ids
    assert len(kept.ids) > len(views[6].ids) // 2
    assert result.error_px < 0.2


def test_too_few_pictures():
    with pytest.raises(CalibrationError, match=r"4 pictures show the board and at least 6"):
        fit_lens(lens_session(0, num=4), MODEL.width_px, MODEL.height_px)


def test_a_board_held_at_one_angle_is_refused():
    with pytest.raises(CalibrationError, match=r"tilt it|tilt the board|tilted"):
        fit_lens(lens_session(0, tilt_rad=0.02), MODEL.width_px, MODEL.height_px)


def test_coverage_says_which_part_is_missing():
    half = [view for view in lens_session(2, num=60) if view.corners_px[:, 0].max() < 400][:14]
    result = fit_lens(half, MODEL.width_px, MODEL.height_px)
    assert any("right" in text and "parts of the image" in text for text in result.coverage.missing)
    assert result.coverage.frac < 0.8
    drawn = coverage_picture(result.coverage, result.views, result.model)
    assert drawn.shape == (480, 640, 3)
    left, right = drawn[200:280, 100:200].reshape(-1, 3), drawn[200:280, 560:].reshape(-1, 3)
    assert np.median(left[:, 1]) > np.median(right[:, 1])  # green where corners are, red where none are


def test_the_error_map_shows_where_the_error_is():
    views = lens_session(3, num=25)
    result = fit_lens(views, MODEL.width_px, MODEL.height_px)
    values = error_map_px(result)
    assert np.nanmedian(values) == pytest.approx(0.15, rel=0.4)
    assert error_picture(result).shape == (480, 640, 3)
