"""Whether a camera has moved: yes, no, or not known, from few views."""

from dataclasses import replace

import numpy as np
import pytest
from board_sessions import MODEL, SPEC, Noise, Placement, record_of, session

from simtoreal import frames
from simtoreal.calibration.drift import check_drift
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.hand_eye import fit_hand_eye
from simtoreal.calibration.keeping import with_mount
from simtoreal.camera_record import CameraRecord, MountPose


@pytest.fixture(scope="module", params=["wrist", "external"])
def camera(request: pytest.FixtureRequest) -> CameraRecord:
    placement: Placement = request.param
    views = session(placement, 0, num=20, noise=Noise(0.1, 0.0002, 0.0003))
    result = fit_hand_eye(views, record_of(placement), placement, np.random.default_rng(0))
    return with_mount(record_of(placement), result, SPEC)


def displaced(camera: CameraRecord, by_m: float) -> CameraRecord:
    assert camera.mount is not None
    return replace(camera, mount=MountPose.of(camera.mount.T @ frames.transform((by_m, 0.0, 0.0))))


def views_today(camera: CameraRecord, num: int) -> list:
    return session(camera.placed, 77, num=num, noise=Noise(0.1, 0.0002, 0.0003))


def test_a_camera_that_stayed_is_within_tolerance(camera: CameraRecord):
    drift = check_drift(camera, views_today(camera, 10))
    assert drift.within
    assert not drift.board_assumed
    assert drift.position_m < 0.004


def test_a_camera_that_moved_is_found_with_the_board_anywhere(camera: CameraRecord):
    drift = check_drift(displaced(camera, 0.012), views_today(camera, 10))
    assert not drift.within
    assert "has moved" in drift.verdict
    assert drift.position_m == pytest.approx(0.012, abs=3.0 * drift.position_std_m)


def test_one_view_is_enough_where_the_board_was_not_moved(camera: CameraRecord):
    drift = check_drift(displaced(camera, 0.02), views_today(camera, 1))
    assert drift.board_assumed
    assert "or the board was moved" in drift.verdict
    assert drift.position_m == pytest.approx(0.02, abs=0.006)


def test_another_lens_is_told_from_another_place(camera: CameraRecord):
    zoomed = replace(camera, model=replace(MODEL, fx=1.06 * MODEL.fx, distortion=(0.8, 0.0, 0.0, 0.0, 0.0)))
    drift = check_drift(zoomed, views_today(camera, 10))
    assert not drift.within
    assert "lens has changed" in drift.verdict


def test_what_a_check_needs(camera: CameraRecord):
    with pytest.raises(CalibrationError, match="no calibrated mount"):
        check_drift(record_of("wrist"), views_today(camera, 5))
    with pytest.raises(CalibrationError, match="no view shows the board"):
        check_drift(camera, [])
