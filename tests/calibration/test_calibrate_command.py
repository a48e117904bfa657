"""`simtoreal calibrate` from pictures to a camera file that the simulators use, in both worlds."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from simtoreal import cli, frames
from simtoreal.calibration.command import calibrate
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.keeping import keep, worse
from simtoreal.calibration.rehearsal import Rehearsal, RehearsalPlan
from simtoreal.calibration.settings import CalibrateConfig, CalibrateMode
from simtoreal.camera import CameraModel
from simtoreal.camera_record import BoardSpec, CameraRecord, MountFit, MountPose, load_camera
from simtoreal.config import EvaluateConfig
from simtoreal.envs.calibrated_camera import with_camera
from simtoreal.envs.camera_setup import CameraSetup, nominal_mount
from simtoreal.envs.randomization import Randomization, load_randomization
from simtoreal.envs.reality import Reality
from simtoreal.envs.robot import load_robot
from simtoreal.episodes.settings import RecordConfig
from simtoreal.episodes.simulated_session import arena_spec
from simtoreal.evaluation.runner import spec_from
from simtoreal.preflight import find_camera


def settings(*words: str) -> CalibrateConfig:
    return cli.read_settings(CalibrateConfig, "calibrate", list(words))


def test_the_first_word_is_the_mode():
    assert settings("hand-eye", "source=a").mode is CalibrateMode.HAND_EYE
    assert settings("check", "source=a").mode is CalibrateMode.CHECK
    assert settings("mode=hand-eye", "source=a", "board.squares_x=9").board.squares_x == 9
    with pytest.raises(ValueError, match="intrinsics, hand-eye, check, board"):
        settings("eye-hand", "source=a")


def test_without_pictures_there_is_nothing_to_do(tmp_path: Path):
    with pytest.raises(CalibrationError, match="needs pictures"):
        calibrate(settings("intrinsics", f"out={tmp_path}"))


def test_the_board_is_printed(tmp_path: Path):
    assert calibrate(CalibrateConfig(CalibrateMode.BOARD, out=tmp_path, dpi=100)) == 0
    assert {"board.svg", "board.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(("world", "placement"), [("pybullet", "wrist"), ("mujoco", "external")])
def test_a_camera_is_calibrated_checked_and_used(
    tmp_path: Path, world: str, placement: str, capsys: pytest.CaptureFixture[str]
):
    if world == "mujoco":
        pytest.importorskip("mujoco")
    common = (f"source={world}", f"placement={placement}", f"out={tmp_path}")
    assert calibrate(settings("intrinsics", *common, "views=24")) == 0
    assert load_camera(tmp_path / "camera.yaml").mount is None
    assert calibrate(settings("hand-eye", *common, "views=18")) == 0
    assert calibrate(settings("check", *common, "views=8", "tolerance_m=0.01", "tolerance_rad=0.03")) == 0
    assert "within tolerance" in capsys.readouterr().out

    camera = load_camera(tmp_path / "camera.yaml")
    assert camera.mount is not None
    with Rehearsal(RehearsalPlan(world, placement), np.random.default_rng(0)) as rehearsal:
        off = frames.invert(camera.mount.T) @ rehearsal.truth.T_mount_cam
    assert np.linalg.norm(off[:3, 3]) < 0.004
    assert np.degrees(np.linalg.norm(frames.rotation_to_vector(off[:3, :3]))) < 0.6
    assert "<svg" in (tmp_path / "calibration.html").read_text()

    choice = find_camera(str(tmp_path / "camera.yaml"))
    assert choice.placement == placement
    assert choice.record == camera
    np.testing.assert_allclose(nominal_mount(CameraSetup.of(camera), load_robot("panda")), camera.mount.T)

    spent = (tmp_path / "camera.yaml").read_bytes()
    with pytest.raises(CalibrationError, match="holds a hand-eye calibration"):
        calibrate(settings("intrinsics", *common, "views=24"))
    assert (tmp_path / "camera.yaml").read_bytes() == spent


def measured_camera() -> CameraRecord:
    covariance = tuple(tuple(row) for row in np.diag([1e-6] * 3 + [4e-6] * 3).tolist())
    fit = MountFit(covariance, num_views=15, num_rejected=0, error_px=0.4, measured_at="2026-11-01", held_out_px=0.5)
    mount = MountPose.of(frames.transform((0.01, 0.08, -0.1)))
    return CameraRecord("wrist", "rgb", CameraModel(640, 480, 600.0, 600.0, 320.0, 240.0), mount, None, fit)


def test_a_worse_file_replaces_none_unless_it_is_forced(tmp_path: Path):
    camera, path = measured_camera(), tmp_path / "camera.yaml"
    assert camera.mount_fit is not None
    larger = tuple(tuple(9.0 * value for value in row) for row in camera.mount_fit.covariance)
    poorer = replace(camera, mount_fit=replace(camera.mount_fit, covariance=larger))
    assert keep(camera, path, force=False) is None
    with pytest.raises(CalibrationError, match=r"its mount is known to 1\.73 mm and the new one to 5\.20 mm"):
        keep(poorer, path, force=False)
    assert load_camera(path) == camera
    assert keep(poorer, path, force=True) == tmp_path / "camera.previous.yaml"
    assert load_camera(tmp_path / "camera.previous.yaml") == camera
    assert worse(camera, poorer) == ""
    with pytest.raises(CalibrationError, match="placement=wrist"):
        keep(replace(camera, placement="external"), path, force=False)
    smaller = replace(camera, model=CameraModel(320, 240, 300.0, 300.0, 160.0, 120.0))
    with pytest.raises(CalibrationError, match="640 x 480 pixels, and the new one has 320 x 240"):
        keep(smaller, path, force=False)


def test_the_covariance_sets_how_wrong_the_simulated_mount_is():
    camera = measured_camera()
    ranges = Randomization().updated(with_camera(load_randomization("default").to_plain(), camera)).camera
    drawn = [ranges.sample(np.random.default_rng(seed)) for seed in range(200)]
    lengths = [np.linalg.norm(sample.mounting_error_m) for sample in drawn]
    assert max(lengths) == pytest.approx(2.8e-3, rel=0.05)  # 95 % of the lengths of such errors are below
    assert max(np.linalg.norm(sample.mounting_error_rad) for sample in drawn) == pytest.approx(5.6e-3, rel=0.05)
    assert all(sample.position_offset_m == (0.0, 0.0, 0.0) and sample.fov_scale == 1.0 for sample in drawn)
    optics = Reality().updated(with_camera({}, camera, reality=True)).optics.sample(np.random.default_rng(0))
    assert 0.0 < np.linalg.norm(optics.hand_eye_error_m) < 2.9e-3
    assert with_camera({"timing": {}}, replace(camera, mount_fit=None)) == {"timing": {}}


def test_evaluations_and_recordings_look_through_the_calibrated_camera(tmp_path: Path):
    camera, path = measured_camera(), tmp_path / "camera.yaml"
    keep(camera, path, force=False)
    evaluated = spec_from(cli.read_settings(EvaluateConfig, "evaluate", [f"camera={path}", "arms=oracle"]))
    recorded = arena_spec(cli.read_settings(RecordConfig, "record", [f"camera={path}"]))
    for spec in (evaluated, recorded):
        assert spec.camera is not None
        assert (spec.camera.mount, spec.camera.model) == (camera.mount, camera.model)
        assert spec.camera.depth
        assert spec.randomization["camera"]["mounting_error_m"] == "=U(0, 0.00278849)"
    external = tmp_path / "external.yaml"
    keep(replace(camera, placement="external"), external, force=False)
    with pytest.raises(ValueError, match="looks through a wrist camera"):
        spec_from(cli.read_settings(EvaluateConfig, "evaluate", [f"camera={external}"]))


def test_pictures_without_a_board_write_nothing(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.zeros((48, 64, 3), dtype=np.uint8))
    config = CalibrateConfig(source=str(tmp_path / "pictures"), out=tmp_path / "out", board=BoardSpec())
    with pytest.raises(CalibrationError, match="it is dark"):
        calibrate(config)
    assert not (tmp_path / "out" / "camera.yaml").exists()


def test_a_camera_that_is_no_choice_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="wrist, external, or give the"):
        find_camera("wrst")
