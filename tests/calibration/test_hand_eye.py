"""The mount of a camera: within a millimetre of the truth, honest about it, and loud where the poses are wrong."""

from dataclasses import replace

import numpy as np
import pytest
from board_sessions import MODEL, SPEC, Placement, record_of, rig_of, session

from simtoreal import frames
from simtoreal.calibration.closed_forms import far_end, solve_all
from simtoreal.calibration.diagnosis import mix_up, wrong_board_size
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.hand_eye import HandEyeResult, fit_hand_eye
from simtoreal.calibration.keeping import with_mount
from simtoreal.calibration.reprojection import LensPrior, board_in_camera, fit_rig, moved, residual
from simtoreal.calibration.reprojection import Noise as FitNoise
from simtoreal.camera_record import CameraRecord, LensFit, lens_parameters


def fitted(placement: Placement, seed: int, views=None) -> HandEyeResult:
    rng = np.random.default_rng(seed)
    return fit_hand_eye(views or session(placement, seed), record_of(placement), placement, rng)


def error_of(result: HandEyeResult) -> np.ndarray:
    d = frames.invert(result.rig.T_mount_cam) @ rig_of(result.rig.placement).T_mount_cam
    return np.concatenate([d[:3, 3], frames.rotation_to_vector(d[:3, :3])])


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_derivatives_are_those_of_the_pixels(placement: Placement):
    view, rig = session(placement, 0, num=1)[0], rig_of(placement)
    at, step = residual(view, rig), 1e-6
    for k in range(21):
        by_rig = (at.r - residual(view, moved(rig, step * np.eye(21)[k])).r) / step
        np.testing.assert_allclose(by_rig, np.hstack([at.mount, at.board, at.lens])[:, k], rtol=1e-3, atol=0.02)
    for k in range(6):
        shift = step * np.eye(6)[k]
        T = view.T_base_tcp @ frames.transform(shift[:3], frames.rotation_from_vector(shift[3:]))
        by_tool = (residual(view._replace(T_base_tcp=T), rig).r - at.r) / -step
        np.testing.assert_allclose(by_tool, at.tool[:, k], rtol=1e-3, atol=0.02)


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_every_closed_form_finds_the_mount_without_noise(placement: Placement):
    from board_sessions import Noise

    rig, views = rig_of(placement), session(placement, 3, noise=Noise(0.0, 0.0, 0.0))
    C = [board_in_camera(view, MODEL) for view in views]
    G = [rig.T_mount_far(view.T_base_tcp) for view in views]
    found = solve_all(G, C)
    assert set(found) == {"Tsai", "Park", "Horaud", "Andreff", "Daniilidis", "Shah"}
    for name, T in found.items():
        np.testing.assert_allclose(T, rig.T_mount_cam, atol=2e-4, err_msg=name)
        np.testing.assert_allclose(far_end(T, G, C), rig.T_far_board, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_the_fit_is_near_the_truth_and_says_how_near(placement: Placement):
    results = [fitted(placement, seed) for seed in range(2)]
    errors = np.array([error_of(result) for result in results])
    assert np.linalg.norm(errors[:, :3], axis=1).max() < 0.002
    assert np.degrees(np.linalg.norm(errors[:, 3:], axis=1).max()) < 0.3
    surprise = [e @ np.linalg.solve(result.covariance, e) for e, result in zip(errors, results, strict=True)]
    assert 1.0 < np.mean(surprise) < 18.0  # 6 on average where the covariance is right
    noise = results[0].fit.noise
    assert noise.corner_px == pytest.approx(0.15, rel=0.2)
    assert noise.tool_m == pytest.approx(0.0003, rel=0.6)
    assert all(result.error_px < result.held_out_px < 2.0 * result.error_px for result in results)


def test_views_with_a_wrong_pose_are_left_out_and_named():
    views = session("wrist", 5)
    slip = frames.transform((0.02, -0.01, 0.015), frames.rotation_from_vector((0.04, 0.0, 0.05)))
    for index in (2, 7, 11):
        views[index] = views[index]._replace(T_base_tcp=views[index].T_base_tcp @ slip)
    result = fitted("wrist", 5, views)
    assert set(result.rejected) == {"view_02", "view_07", "view_11"}
    assert np.linalg.norm(error_of(result)[:3]) < 0.002


def test_too_few_views():
    with pytest.raises(CalibrationError, match=r"5 pictures .* at least 8 are needed"):
        fitted("wrist", 0, session("wrist", 0, num=5))


def test_a_tool_that_does_not_turn_is_no_calibration():
    views = session("wrist", 0)
    level = [view._replace(T_base_tcp=frames.transform(view.T_base_tcp[:3, 3])) for view in views]
    with pytest.raises(CalibrationError, match="hardly turns"):
        fitted("wrist", 0, level)


def test_a_tool_that_turns_about_one_axis_is_no_calibration():
    views = session("wrist", 0)
    about_z = [
        view._replace(T_base_tcp=frames.top_down(view.T_base_tcp[:3, 3], 0.2 * i)) for i, view in enumerate(views)
    ]
    with pytest.raises(CalibrationError, match="one axis only"):
        fitted("wrist", 0, about_z)


def test_millimetres_are_noticed():
    views = session("wrist", 0)
    in_mm = [
        view._replace(T_base_tcp=frames.transform(1e3 * view.T_base_tcp[:3, 3], view.T_base_tcp[:3, :3]))
        for view in views
    ]
    with pytest.raises(CalibrationError, match="these look like mm"):
        fitted("wrist", 0, in_mm)


def quaternion_rolled(T):
    return frames.from_quat(T[:3, 3], np.roll(frames.rotation_to_quat(T[:3, :3]), 1))


@pytest.mark.parametrize(
    ("change", "said"), [(quaternion_rolled, "w first"), (frames.invert, "not its inverse")], ids=["order", "inverse"]
)
def test_mixed_up_poses_are_recognized(change, said: str):
    views = [view._replace(T_base_tcp=change(view.T_base_tcp)) for view in session("wrist", 1)]
    assert said in mix_up(views, MODEL, "wrist")


def test_the_wrong_placement_is_recognized():
    assert "placement=external" in mix_up(session("external", 1), MODEL, "wrist")


def test_a_board_of_another_size_is_recognized_by_the_motion_of_the_robot():
    views = session("wrist", 1)
    assert wrong_board_size(views, MODEL, "wrist") == ""
    larger = [view._replace(points_m=1.1 * view.points_m) for view in views]
    assert "0.9" in wrong_board_size(larger, MODEL, "wrist")


def astray(placement: Placement, frac: float) -> CameraRecord:
    """A camera whose focal lengths are off by a share that their covariance allows."""
    model = replace(MODEL, fx=(1.0 + frac) * MODEL.fx, fy=(1.0 + frac) * MODEL.fy)
    std = np.array([3.0, 3.0, 0.5, 0.5, 1e-3, 1e-3, 1e-5, 1e-5, 1e-3])
    covariance = np.diag(std**2)
    covariance[0, 1] = covariance[1, 0] = 0.99 * std[0] * std[1]
    rows = tuple(map(tuple, covariance.tolist()))
    fit = LensFit(rows, 20, 0, 0.2, "2026-01-01T00:00:00+00:00", measured=tuple(lens_parameters(model).tolist()))
    return CameraRecord(placement, "rgb", model, lens_fit=fit)


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_the_motion_of_the_arm_mends_a_focal_length_that_is_a_little_off(placement: Placement):
    views, camera = session(placement, 7), astray(placement, 0.005)
    taken_as_is = fit_hand_eye(views, replace(camera, lens_fit=None), placement, np.random.default_rng(0))
    result = fit_hand_eye(views, camera, placement, np.random.default_rng(0))
    assert abs(result.rig.model.fx / MODEL.fx - 1.0) < 0.002
    assert np.linalg.norm(error_of(result)[:3]) < min(0.0015, np.linalg.norm(error_of(taken_as_is)[:3]))
    assert error_of(result) @ np.linalg.solve(result.covariance, error_of(result)) < 22.5  # 99.9 % of chi square


def test_measuring_the_mount_again_starts_from_the_lens_as_its_own_pictures_have_it():
    views, camera = session("external", 8), astray("external", 0.005)
    result = fit_hand_eye(views, camera, "external", np.random.default_rng(0))
    kept = with_mount(camera, result, SPEC)
    assert kept.model == result.rig.model != camera.model
    assert kept.lens_fit == camera.lens_fit
    again = fit_hand_eye(views, kept, "external", np.random.default_rng(0))
    np.testing.assert_allclose(again.rig.T_mount_cam, result.rig.T_mount_cam, atol=1e-6)
    np.testing.assert_allclose(again.covariance, result.covariance, rtol=1e-3)


def test_a_lens_without_a_mount_is_not_fitted():
    prior = LensPrior(MODEL, np.eye(9))
    with pytest.raises(ValueError, match="with the mount only"):
        fit_rig(session("wrist", 0), rig_of("wrist"), FitNoise(0.3, 1e-3, 1e-3), mount=False, lens=prior)


def test_poses_that_contradict_the_lens_are_an_error_and_no_crash():
    views = [view._replace(T_base_tcp=frames.invert(view.T_base_tcp)) for view in session("external", 2)]
    with pytest.raises(CalibrationError):
        fit_hand_eye(views, astray("external", 0.004), "external", np.random.default_rng(0))
